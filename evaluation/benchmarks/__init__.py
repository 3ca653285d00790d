"""The benchmarks, one file each: a `BenchmarkReader` under the name that `editloom evaluate` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.classes import find_class

if TYPE_CHECKING:
    from evaluation.benchmark import BenchmarkReader

BENCHMARKS = {
    "pairs": "evaluation.benchmarks.pairs:Pairs",
    "magicbrush": "evaluation.benchmarks.magicbrush:MagicBrush",
    "held_out_pairs": "evaluation.benchmarks.held_out_pairs:HeldOutPairs",
    "emu_edit": "evaluation.benchmarks.emu_edit:EmuEdit",
}
"""Name -> class; a new benchmark is a file next to this one and a line here."""


def find_benchmark(name: str) -> type[BenchmarkReader]:
    """The settings class of a benchmark. Raises UsageError with the nearest name for an unknown one."""
    found: type[BenchmarkReader] = find_class(BENCHMARKS, name, "benchmark")
    return found
