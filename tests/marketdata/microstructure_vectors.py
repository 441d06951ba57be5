"""Reference vectors of order flow, trades, variation and impact; each was computed independently of our code."""

import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("microstructure_vectors.json").read_text())
