"""Runs the cells of a benchmark, each in a process of its own, some at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Job(NamedTuple):
    """One cell with one seed."""

    cell: str
    seed: int


def run_jobs(jobs: Sequence[Job], command: Callable[[Job], list[str]], num_processes: int) -> list[str]:
    """Run `command` of each job, `num_processes` at a time, each on one core where there are several.

    Return a line for each that failed; the others are run all the same.
    """
    environment = dict(os.environ)
    if num_processes > 1:
        environment["OMP_NUM_THREADS"] = "1"

    def work(job: Job) -> str:
        began = time.monotonic()
        code = subprocess.run([sys.executable, *command(job)], check=False, env=environment).returncode
        ended = f"ended with {code}" if code else f"{time.monotonic() - began:.0f} s"
        print(f"seed {job.seed}, {job.cell}: {ended}", file=sys.stderr, flush=True)
        return f"seed {job.seed}, {job.cell}: {ended}" if code else ""

    with ThreadPoolExecutor(num_processes) as pool:
        return [line for line in pool.map(work, jobs) if line]
