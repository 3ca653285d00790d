"""The engine against a bare multiprocessing script that does the same work (benchmarks/engine/bare.py).

`make bench-engine`: shards of 1,000 JPEGs of about 20 KB made by code, through read, normalise, filter, dedup, WordNet
edits and emit, with the executor that one machine has by default. Both build 8 shards three times, and 100 shards once;
the ratio of a round is of two runs one after the other, and the median counts. Prints wall times, images a second, the
peak memory of each process, and the share of the engine's time that image codecs take. Fails when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import make_shards  # noqa: E402  the repository is not a package

EDITLOOM = str(Path(sys.executable).with_name("editloom"))
MANIFEST = ROOT / "benchmarks" / "engine" / "manifest.toml"
SIDE_PX = 256
SAMPLE_EVERY_S = 0.5
BARS = {8: 1.15, 100: 1.06}
"""The largest ratio of the engine's time to the script's, by number of shards."""
ROUNDS = {8: 3}
"""Times that both run, by number of shards; once at other sizes."""


class MemoryWatch(threading.Thread):
    """Peak resident memory by kind of process, below one process."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.peak_bytes: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        """Look until the process ends."""
        while self._process.is_running():
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            for process in family:
                try:
                    name, rss = _kind(process, self._process.pid), process.memory_info().rss
                except psutil.Error:
                    continue
                self.peak_bytes[name] = max(self.peak_bytes[name], rss)
            time.sleep(SAMPLE_EVERY_S)


def _kind(process: psutil.Process, root: int) -> str:
    if process.pid == root:
        return "driver"
    line = " ".join(process.cmdline()[:4])
    for mark in ("process_worker", "RayWorker", "raylet/raylet", "gcs_server", "bare.py"):
        if mark in line:
            return mark.rsplit("/", maxsplit=1)[-1]
    return "other"


def timed(command: list[str], log: Path) -> tuple[float, dict[str, int], dict[str, Any]]:
    """Wall seconds, peak MB by kind of process, and the JSON that the command printed last."""
    with log.open("wb") as errors:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
        watch = MemoryWatch(process.pid)
        watch.start()
        output, _ = process.communicate()
        wall_s = time.monotonic() - began
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}; see {log}")
    peaks = {name: round(peak / 1e6) for name, peak in sorted(watch.peak_bytes.items())}
    return wall_s, peaks, json.loads(output.splitlines()[-1])


def engine(shards: str, out: Path) -> tuple[float, dict[str, int], dict[str, Any]]:
    """The engine with two workers."""
    shutil.rmtree(out, ignore_errors=True)
    command = [EDITLOOM, "build", str(MANIFEST), "--shards", shards, "--out", str(out), "--workers", "2", "--json"]
    return timed(command, out.with_suffix(".log"))


def bare(shards: Path, first: int, out: Path) -> tuple[float, dict[str, int], dict[str, Any]]:
    """The script with a pool of two."""
    shutil.rmtree(out, ignore_errors=True)
    script = str(ROOT / "benchmarks" / "engine" / "bare.py")
    command = [sys.executable, script, str(shards), str(out), "--side", str(SIDE_PX), "--first", str(first)]
    return timed(command, out.with_suffix(".log"))


def codec_seconds(shard: Path) -> float:
    """Seconds that decoding, resizing and encoding one shard takes on one core, nothing else."""
    import tarfile

    from benchmarks.engine.bare import normalise

    with tarfile.open(shard) as tar:
        images = [tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")]  # type: ignore[union-attr]
    began = time.monotonic()
    for image in images:
        normalise(image, SIDE_PX)
    return time.monotonic() - began


def one_round(folder: Path, num_shards: int, rows: int) -> float:
    """Run both, print what they took, and return the ratio of the engine's time to the script's."""
    shards = f"{folder}/shards/{{00000..{num_shards - 1:05d}}}.tar"
    bare_s, bare_peaks, bare_result = bare(folder / "shards", num_shards, folder / "bare")
    shutil.rmtree(folder / "bare")
    engine_s, peaks, summary = engine(shards, folder / "engine")
    shutil.rmtree(folder / "engine")
    out_rows = summary["stages"][-1]["rows_out"]
    if out_rows != bare_result["edits"]:
        print(f"note: the script made {bare_result['edits']:,} samples, the engine {out_rows:,}")
    worker_s = {s["stage"]: s["worker_s"] for s in summary["stages"]}
    codec_s = codec_seconds(folder / "shards" / "00000.tar") * num_shards
    print(f"bare script       {bare_s:7.1f} s   {rows / bare_s:7.0f} images/s   peak MB {bare_peaks}")
    print(f"engine            {engine_s:7.1f} s   {rows / engine_s:7.0f} images/s   peak MB {peaks}")
    print(f"ratio             {engine_s / bare_s:7.2f}")
    print(f"worker seconds    {worker_s}")
    print(f"image codecs      {codec_s:7.1f} s of one core: {codec_s / (2 * engine_s):.0%} of both cores' time")
    print(f"samples written   {out_rows:,} ({out_rows / engine_s:.0f} a second)", flush=True)
    return engine_s / bare_s


def main() -> None:
    """Run both at each size. Exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 100], help="numbers of shards")
    parser.add_argument("--samples", type=int, default=1000, help="images of a shard")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-engine")
    options = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    folder: Path = options.folder
    paths = make_shards(folder / "shards", max(options.sizes), options.samples)
    size = sum(p.stat().st_size for p in paths)
    rows = len(paths) * options.samples
    print(f"{len(paths)} shards, {rows:,} samples, {size / rows / 1000:.1f} KB each; {os.cpu_count()} cores")
    missed = False
    for num_shards in options.sizes:
        print(f"\n{num_shards} shards", flush=True)
        ratios = [one_round(folder, num_shards, num_shards * options.samples) for _ in range(ROUNDS.get(num_shards, 1))]
        ratio, bar = statistics.median(ratios), BARS.get(num_shards)
        missed |= bar is not None and ratio > bar
        print(f"{num_shards} shards: ratio {ratio:.2f}" + (f" (bar: at most {bar})" if bar else ""), flush=True)
    sys.exit(missed)


if __name__ == "__main__":
    main()
