import subprocess
import sys

import pytest
import torch

from models.placement import Placement, in_batches


def test_auto_is_float32_on_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Placement().torch_device() == torch.device("cpu")
    assert Placement().torch_dtype() == torch.float32


@pytest.mark.parametrize(
    ("capability", "dtype"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16)]
)
def test_auto_is_half_precision_of_the_kind_the_gpu_has(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert Placement().torch_device().type == "cuda"
    assert Placement().torch_dtype() == dtype


def test_explicit_values_are_used():
    placed = Placement(device="cuda:1", dtype="float16")
    assert placed.torch_device() == torch.device("cuda", 1)
    assert placed.torch_dtype() == torch.float16


def test_unknown_dtype_and_empty_batches_are_refused():
    with pytest.raises(
        ValueError, match="dtype 'int4' is not known; expected auto or one of float32, bfloat16, float16"
    ):
        Placement(dtype="int4")
    with pytest.raises(ValueError, match="batch_size is 0; expected at least 1"):
        Placement(batch_size=0)


def test_rows_come_back_in_order_whatever_the_batch_size():
    for size in (1, 2, 3, 100):
        assert in_batches(lambda rows: [row * 2 for row in rows], range(5), size) == [0, 2, 4, 6, 8]
    assert in_batches(list, [], 4) == []


def test_batch_that_does_not_fit_is_halved_until_it_does():
    sizes = []

    def run(rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("too much")
        return list(rows)

    assert in_batches(run, range(7), 8) == list(range(7))
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_row_that_does_not_fit_alone_raises():
    def run(rows):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(run, [1, 2], 2)


def test_lost_results_are_noticed():
    with pytest.raises(ValueError, match="a batch of 2 rows gave 1 results"):
        in_batches(lambda rows: rows[:1], [1, 2], 2)


def test_importing_it_imports_no_torch():
    code = "import sys; import models.placement; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
