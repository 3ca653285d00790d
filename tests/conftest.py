"""Makes the helper modules next to this file importable: `from _fakes import ...`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))  # benchmarks/ is not installed
