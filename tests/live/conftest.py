"""Real libraries: clients, frameworks and what instruments them, against a stand-in for the models."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
