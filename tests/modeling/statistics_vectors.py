"""Reference vectors of the statistics: overfitting, drift, Venn-Abers, base rates. Each was computed independently."""

import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("statistics_vectors.json").read_text())
