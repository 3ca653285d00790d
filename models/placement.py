"""The device, the precision and the batch size of a model, which decide its speed and not its result.

Half precision rounds differently from float32, so numbers agree to about three digits, not to the bit. Therefore a
placement is in no fingerprint, and the CPU, which tests run on, uses float32. Importing the module is light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AUTO = "auto"
DTYPES = ("float32", "bfloat16", "float16")
BATCH_SIZE = 16
"""Rows at once, unless a placement says otherwise."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Device, precision and batch size of one loaded model.

    `device` is a torch device or `auto`: the first CUDA device that is visible, else the CPU. `dtype` is one of DTYPES
    or `auto`: float32 on the CPU; on CUDA bfloat16 from compute capability 8.0 on, float16 below. `batch_size` counts
    rows handed to the network at once (for an endpoint: requests in flight). Raises ValueError for other values.
    """

    device: str = AUTO
    dtype: str = AUTO
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if self.dtype not in (AUTO, *DTYPES):
            raise ValueError(f"dtype {self.dtype!r} is not known; expected {AUTO} or one of {', '.join(DTYPES)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; expected at least 1")

    def torch_device(self) -> Any:
        """The `torch.device` that `device` names."""
        import torch

        if self.device != AUTO:
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def torch_dtype(self) -> Any:
        """The `torch.dtype` that `dtype` names."""
        import torch

        if self.dtype != AUTO:
            return getattr(torch, self.dtype)
        device = self.torch_device()
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def in_batches(run: Callable[[Sequence[T]], Sequence[R]], rows: Sequence[T], batch_size: int) -> list[R]:
    """Call `run` on slices of at most `batch_size` rows. It gives one result a row, in order.

    A batch that does not fit into the GPU's memory is halved, and so are the later ones of the call. Raises
    `torch.OutOfMemoryError` when one row alone does not fit.
    """
    import torch

    results: list[R] = []
    size = batch_size
    while len(results) < len(rows):
        part = rows[len(results) : len(results) + size]
        try:
            done = run(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            done = None
        if done is None:  # outside the handler: its traceback would keep the batch's tensors alive
            size = len(part) // 2
            torch.cuda.empty_cache()
            continue
        if len(done) != len(part):
            raise ValueError(f"a batch of {len(part)} rows gave {len(done)} results")
        results.extend(done)
    return results
