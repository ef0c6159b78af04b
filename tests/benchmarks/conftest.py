"""The benchmarks are no distribution: their folder is put on the path, as scripts/bench does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
