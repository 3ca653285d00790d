"""What a part of the benchmark is made of: cases, each measured in a time of its own, and how they are measured.

Rates are rows over the median time of calls that are repeated for some seconds, after one call that does not count.
The GPU is waited for. Memory is what torch had allocated at most.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

MOST_CALLS = 200
PEAK_BF16_TFLOPS = {
    "H200": 989.0, "GH200": 989.0, "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.0, "H800": 989.0, "B200": 2250.0,
    "A100": 312.0, "A800": 312.0, "L40S": 362.0, "L40": 181.0, "L4": 121.0, "A10G": 70.0, "A10": 125.0,
    "RTX 4090": 165.0,
}  # fmt: skip
"""Part of a card's name -> its dense bf16 peak by its data sheet, without sparsity. Longer names come first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Where and how a part is measured. `seconds` are those for which one case repeats its call."""

    folder: Path
    """For checkpoints, which parts share."""
    small: bool
    device: str
    seconds: float
    dtype: str = "bfloat16"
    index_rows: int = 200_000

    def pick(self, full: T, small: T) -> T:
        """The value for this size."""
        return small if self.small else full


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The figures of one case. `notes` go into the table, `more` into the JSON alone, `missed` are bars not reached."""

    per_second: float
    unit: str
    batch: int
    mfu: float | None = None
    peak_bytes: int | None = None
    notes: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table, and the call that measures it."""

    name: str
    run: Callable[[], Measured]


class Timed(NamedTuple):
    """The median seconds of a call, and the number of calls."""

    seconds: float
    num_calls: int


def timed(call: Callable[[], Any], seconds: float) -> Timed:
    """Call once, then again and again for about so many seconds, at least twice."""
    call()
    found: list[float] = []
    began = now()
    while len(found) < 2 or (now() - began < seconds and len(found) < MOST_CALLS):
        started = now()
        call()
        found.append(now() - started)
    return Timed(statistics.median(found), len(found))


def fitting(batch: int, run: Callable[[int], T]) -> tuple[int, T]:
    """(batch, result) of the first of `batch`, its half, its quarter … that fits into the GPU's memory.

    Raises `torch.OutOfMemoryError` where one row alone does not fit.
    """
    while True:
        try:
            return batch, run(batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        release()  # outside of the handler: its traceback keeps the batch's tensors alive
        batch //= 2


def release() -> None:
    """Give back what is not used any more, and start to count the memory anew."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int | None:
    """Memory of the GPU that tensors took at most since `release`, or None on a CPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def peak_flops(card: str | None) -> float | None:
    """Dense bf16 operations a second that the card's maker states, or None for a card that is not in the table."""
    known = sorted(PEAK_BF16_TFLOPS, key=len, reverse=True)
    return next((1e12 * PEAK_BF16_TFLOPS[name] for name in known if card and name in card), None)


def card_name() -> str | None:
    """The GPU's name, or None without one."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def now() -> float:
    """Seconds, once the GPU has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
