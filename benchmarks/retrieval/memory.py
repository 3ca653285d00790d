"""Peak resident memory of a step, beyond that of the process before it. Standard library and Linux only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def resident_bytes(key: str) -> int:
    """`VmRSS`, resident now, or `VmHWM`, the most since `measured` began. Files mapped into memory count."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


def measured(step: Callable[[], Any]) -> tuple[Any, float, int]:
    """The step's result, its wall seconds, and by how many bytes resident memory grew at most."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets VmHWM back
    before, began = resident_bytes("VmRSS"), time.monotonic()
    result = step()
    seconds = time.monotonic() - began
    return result, seconds, resident_bytes("VmHWM") - before


def per_query_ms(search: Callable[[Any], Any], queries: Any, repeats: int = 3) -> float:
    """Milliseconds a query of the fastest of some passes over all queries."""
    best = float("inf")
    for _ in range(repeats):
        began = time.monotonic()
        search(queries)
        best = min(best, time.monotonic() - began)
    return 1000 * best / len(queries)
