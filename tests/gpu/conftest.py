"""Marks every test of this folder, and skips it, with the reason, where torch sees no GPU."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def has_gpu():
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items):
    own = [item for item in items if HERE in Path(item.path).parents]
    without = pytest.mark.skip(reason="torch sees no CUDA device here") if own and not has_gpu() else None
    for item in own:
        item.add_marker(pytest.mark.gpu)
        item.add_marker(pytest.mark.filterwarnings("default"))  # of libraries that only a GPU brings
        if without:
            item.add_marker(without)


@pytest.fixture(params=["bfloat16", "float16"])
def half(request):
    """A precision that GPUs are fast in."""
    return request.param
