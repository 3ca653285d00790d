"""One side of the benchmark in a process of its own, which steps when it is told to.

`run.py` starts it and writes a number of steps into its standard input; the answer is a JSON line with seconds and the
most memory that the process has had. It ends with its input.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SIDES = {
    "ours, caches": "benchmarks.train_step.ours:open_ours",
    "ours, no caches": "benchmarks.train_step.ours:open_ours",
    "diffusers' loop": "benchmarks.train_step.theirs:open_theirs",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What all sides are given."""

    data: str
    """A dataset's folder: with arrays for the side with caches."""
    out: str
    model: str
    size_px: int
    batch_size: int
    threads: int
    precision: str = "no"
    learning_rate: float = 1e-4


def main() -> None:
    """Open the side, then step."""
    name, task = sys.argv[1], Task(**json.loads(sys.argv[2]))
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    module, _, function = SIDES[name].partition(":")
    step = getattr(importlib.import_module(module), function)(task)
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"is_ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_stepped(step, int(line), torch)), file=answers, flush=True)


def _stepped(step: Any, count: int, torch: Any) -> dict[str, Any]:
    began, cpu_began = _now(torch), time.process_time()
    for _ in range(count):
        step()
    return {
        "seconds": _now(torch) - began, "cpu_seconds": time.process_time() - cpu_began, "steps": count,
        "rss_bytes": _peak_rss(),
        "gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }  # fmt: skip


def _now(torch: Any) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak_rss() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    main()
