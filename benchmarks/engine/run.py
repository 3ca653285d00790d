"""The engine against a bare multiprocessing script that does the same work (benchmarks/engine/bare.py).

`make bench-engine`: 100 shards of 1,000 JPEGs of about 20 KB made by code, through read, normalise, filter, dedup,
WordNet edits and emit. Prints wall times and their ratio, samples a second, the peak memory of each process at 10 and
at all shards, and the share of the engine's time that image codecs take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
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
    line = " ".join(process.cmdline()[:3])
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
    """The engine with two Ray workers."""
    shutil.rmtree(out, ignore_errors=True)
    command = [EDITLOOM, "build", str(MANIFEST), "--shards", shards, "--out", str(out), "--workers", "2", "--json"]
    return timed(command, out.with_suffix(".log"))


def bare(shards: Path, out: Path) -> tuple[float, dict[str, int], dict[str, Any]]:
    """The script with a pool of two."""
    shutil.rmtree(out, ignore_errors=True)
    script = str(ROOT / "benchmarks" / "engine" / "bare.py")
    return timed([sys.executable, script, str(shards), str(out), "--side", str(SIDE_PX)], out.with_suffix(".log"))


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


def main() -> None:
    """Run both, small and large, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--small", type=int, default=10, help="shards of the run that memory is compared with")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-engine")
    options = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    folder: Path = options.folder
    paths = make_shards(folder / "shards", options.shards, options.samples)
    size = sum(p.stat().st_size for p in paths)
    rows = options.shards * options.samples
    print(f"{options.shards} shards, {rows:,} samples, {size / rows / 1000:.1f} KB each; {os.cpu_count()} cores")
    _, small_peaks, _ = engine(f"{folder}/shards/{{00000..{options.small - 1:05d}}}.tar", folder / "engine-small")
    shutil.rmtree(folder / "engine-small")
    bare_s, bare_peaks, bare_result = bare(folder / "shards", folder / "bare")
    shutil.rmtree(folder / "bare")
    engine_s, peaks, summary = engine(str(folder / "shards"), folder / "engine")
    out_rows = summary["stages"][-1]["rows_out"]
    if out_rows != bare_result["edits"]:
        print(f"note: the script made {bare_result['edits']:,} samples, the engine {out_rows:,}")
    codec_s = codec_seconds(paths[0]) * options.shards
    worker_s = {s["stage"]: s["worker_s"] for s in summary["stages"]}
    print(f"bare script       {bare_s:7.1f} s   {rows / bare_s:7.0f} images/s   peak MB {bare_peaks}")
    print(f"engine            {engine_s:7.1f} s   {rows / engine_s:7.0f} images/s   peak MB {peaks}")
    print(f"ratio             {engine_s / bare_s:7.2f}     (bar: at most 1.25)")
    print(f"peak MB at {options.small} shards {small_peaks}, at {options.shards} shards {peaks}")
    print(f"worker seconds    {worker_s}")
    print(f"image codecs      {codec_s:7.1f} s of one core: {codec_s / (2 * engine_s):.0%} of both cores' time")
    print(f"samples written   {out_rows:,} ({out_rows / engine_s:.0f} a second)")
    shutil.rmtree(folder / "engine")


if __name__ == "__main__":
    main()
