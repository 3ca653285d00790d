"""Makes the helper modules next to this file importable, and has the fixtures of all tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))  # benchmarks/ is not installed


@pytest.fixture(scope="module")
def one_thread():
    """One thread of torch for a whole module: small networks are slower with more, and sums keep their order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
