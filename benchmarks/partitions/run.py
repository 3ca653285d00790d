"""A million rows of light columns through dedup, select and gather: memory a worker, and two workers against one.

`make bench-partitions`. Rows are made by code (benchmarks/partitions/rows.py), 100 shards of 10,000. Times are of the
stage alone, from its first step to its last. The bars: a worker takes at most 400 MB, and two workers take at most
1/1.7 of the time of one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.engine.run import MemoryWatch  # noqa: E402  the repository is not a package

MOST_MB, LEAST_RATIO = 400, 1.7


def build(what: str, folder: Path, rows: int, workers: int) -> tuple[dict[str, object], float]:
    """What the build printed, and the peak memory of a worker in MB."""
    out = folder / f"{what}-{workers}"
    shutil.rmtree(out, ignore_errors=True)
    script = str(ROOT / "benchmarks" / "partitions" / "build.py")
    with (folder / f"{what}-{workers}.log").open("wb") as log:
        command = [sys.executable, script, what, str(out), str(rows), str(workers)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
        watch = MemoryWatch(process.pid)
        watch.start()
        output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{what} failed; see {log.name}")
    shutil.rmtree(out)
    return json.loads(output.splitlines()[-1]), watch.peak_bytes["process_worker"] / 1e6


def main() -> None:
    """Run each stage with one worker and with two, and print one table. Exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="times that each build runs; medians count")
    parser.add_argument(
        "--only", choices=["dedup", "select", "gather"], nargs="+", default=["dedup", "select", "gather"]
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-partitions")
    options = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options.folder.mkdir(parents=True, exist_ok=True)
    missed = False
    for what in options.only:
        seconds: dict[int, list[float]] = {1: [], 2: []}
        memory = 0.0
        for _ in range(options.rounds):
            for workers in (1, 2):
                result, peak = build(what, options.folder, options.rows, workers)
                seconds[workers].append(float(str(result["seconds"])))
                memory = max(memory, peak)
                print(f"{what:7s} {workers} workers {seconds[workers][-1]:7.2f} s {peak:5.0f} MB {result}", flush=True)
        one, two = (sorted(seconds[n])[len(seconds[n]) // 2] for n in (1, 2))
        is_good = memory <= MOST_MB and one / two >= LEAST_RATIO
        missed |= not is_good
        print(f"{what:7s} {'ok' if is_good else 'MISSED'}: {one:.2f} s with one worker, {two:.2f} s with two: "
              f"{one / two:.2f} times as fast; at most {memory:.0f} MB a worker", flush=True)  # fmt: skip
    sys.exit(missed)


if __name__ == "__main__":
    main()
