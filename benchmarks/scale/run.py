"""What a further shard costs: time a step, memory of the driver, requests on an object store; and 10^5 shards computed.

`make bench-scale`. Builds of 10, 100, 1,000 and 10,000 tiny shards with each executor give the time of a further step
and the driver's memory; builds on a store with 30 ms a request (benchmarks/scale/slow_store.py) give the requests and
the seconds of a further shard; status, verify and a build with nothing to do are timed on the largest run folder. From
these a table for 10^5 shards is computed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.engine.run import MemoryWatch  # noqa: E402  the repository is not a package
from benchmarks.scale.requests import Cost, costs, per_shard  # noqa: E402
from benchmarks.shards import make_shards  # noqa: E402
from pipeline.plan.steps import MOST_SHARDS_PER_GROUP  # noqa: E402
from pipeline.store.records import ALL_SHARDS  # noqa: E402

EDITLOOM = str(Path(sys.executable).with_name("editloom"))
MANIFEST = ROOT / "benchmarks" / "scale" / "manifest.toml"
EXECUTORS = ("inprocess", "processes", "ray")
STAGES = 6
SAMPLES, SIZE_PX = 3, (96, 72)
FEW, MANY, DELAY_S = 40, 120, 0.03
"""Shards of the two builds with delayed requests."""
REPEATS = {10: 5, 100: 3}
"""Builds of a size, of which the median counts; one of other sizes."""
LARGE = 100_000


def build(shards: str, out: Path, executor: str) -> tuple[float, float, float]:
    """Seconds from the first step to the end, and megabytes of the driver and of the largest worker."""
    shutil.rmtree(out, ignore_errors=True)
    command = [EDITLOOM, "build", str(MANIFEST), "--shards", shards, "--out", str(out), "--json"]
    command += ["--executor", executor, *(["--workers", "2"] if executor != "inprocess" else [])]
    with out.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, cwd=ROOT)
        watch = MemoryWatch(process.pid)
        watch.start()
        if process.wait():
            sys.exit(f"the build of {shards} failed; see {out}.log")
    (events,) = (out / "run").glob("events-*.jsonl")
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    began = next(line["time"] for line in lines if line["event"] == "started")
    worker = max(watch.peak_bytes["process_worker"], watch.peak_bytes["RayWorker"])
    return lines[-1]["time"] - began, watch.peak_bytes["driver"] / 1e6, worker / 1e6


def timed_command(*arguments: str) -> float:
    """Wall seconds of one command of editloom."""
    began = time.monotonic()
    subprocess.run([EDITLOOM, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def steps_table(sizes: list[int], executors: list[str], folder: Path) -> dict[str, float]:
    """Print time and memory by number of shards. Returns seconds of commands at the largest size, and of a step."""
    found: dict[str, float] = {}
    for executor in executors:
        print(f"\n{executor}: shards, seconds from the first step, ms a further step, MB of driver and of a worker")
        before: tuple[int, float] | None = None
        for size in sizes:
            shards = f"{folder}/shards/{{00000..{size - 1:05d}}}.tar"
            runs = [build(shards, folder / "out", executor) for _ in range(REPEATS.get(size, 1))]
            seconds, driver, worker = (statistics.median(run[i] for run in runs) for i in range(3))
            each = (seconds - before[1]) / ((size - before[0]) * STAGES) * 1000 if before else float("nan")
            print(f"{size:7,d} {seconds:9.2f} s {each:8.2f} ms {driver:7.0f} {worker:7.0f} MB", flush=True)
            before = size, seconds
            found[f"step {executor}"] = each / 1000
    size, given = sizes[-1], (str(MANIFEST), "--out", str(folder / "out"))
    shards = f"{folder}/shards/{{00000..{size - 1:05d}}}.tar"
    for name, more in (("build again", ("build",)), ("status", ("status",)), ("verify", ("verify",))):
        found[name] = timed_command(*more, *given, "--shards", shards) / size
        print(f"{name} at {size:,} shards: {found[name] * size:.1f} s, {found[name] * 1000:.2f} ms a shard", flush=True)
    return found


def requests_table(folder: Path) -> dict[str, Cost]:
    """Print requests and seconds of a further shard on an object store. Returns them."""
    paths = sorted((folder / "shards").glob("*.tar"))
    costs(paths[:2], 0.0)  # opens WordNet and imports
    found = per_shard(costs(paths[:FEW], DELAY_S), costs(paths[:MANY], DELAY_S), MANY - FEW)
    print(f"\nobject store with {DELAY_S * 1000:.0f} ms a request: requests and ms for each further shard")
    for name, cost in found.items():
        print(f"{name:42s} {cost.requests:7.2f} {cost.seconds * 1000:9.2f} ms")
    return found


def projection(steps: dict[str, float], store: dict[str, Cost]) -> None:
    """Print what follows for `LARGE` shards: computed from what a further shard was measured to take."""
    print(f"\ncomputed for {LARGE:,} shards on an object store, from the figures above")
    for name in ("plan", "build", "build again", "status", "verify"):
        cost = store[name]
        seconds = max(0.0, cost.seconds) * LARGE
        alone = f"{seconds / 60:8.1f} min" if name != "build" else f"{seconds / 3600:8.1f} h of one worker"
        print(f"{name:42s} {cost.requests * LARGE:12,.0f} requests {alone}")
    for name, cost in store.items():
        if name.startswith("longest step"):  # steps of `dedup` over groups of shards are cut where they get longer
            num_shards = LARGE if name.endswith(ALL_SHARDS) else MOST_SHARDS_PER_GROUP
            print(f"{name:42s} {max(0.0, cost.seconds) * num_shards:8.1f} s for {num_shards:,} shards")
    for executor in (name for name in EXECUTORS if f"step {name}" in steps):
        print(f"steps a second that one driver was seen to hand out, {executor}: {1 / steps[f'step {executor}']:,.0f}")


def main() -> None:
    """Run all parts, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--executors", nargs="+", choices=EXECUTORS, default=list(EXECUTORS))
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-scale")
    options = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    make_shards(options.folder / "shards", max(*options.sizes, MANY), SAMPLES, size_px=SIZE_PX)
    store = requests_table(options.folder)
    steps = steps_table(options.sizes, options.executors, options.folder)
    projection(steps, store)


if __name__ == "__main__":
    main()
