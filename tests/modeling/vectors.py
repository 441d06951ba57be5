"""Reference vectors for the modeling tests, computed with 50 digits or copied from the worked examples of papers."""

import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("testvectors.json").read_text())
