"""Export many rows in flat memory, and kill exports at random moments: the result has to be the same bytes.

`make bench-export`. Memory: 5,000 and 50,000 rows in shards of 1,000, to one format of image files and one of Parquet;
the peak of the driver and of the largest worker, as the kernel counts it. Kills: ten exports, each with SIGKILL to the
driver or to a worker at a random moment, then the same command again. The bars: ten times the rows take at most 15 %
more memory, and every killed export ends with the bytes of one that nobody disturbed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from zoo.dataset_shards import write_shards  # noqa: E402  the repository is not a package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.dataset_shards import Sample

COMMAND = "from cli.main import main; main()"
FORMATS = ("ai-toolkit", "huggingface")
KILLED = "imagefolder"
MOST_GROWTH = 1.15
"""The largest ratio of peak memory at the larger size to that at the smaller one."""
NUM_DRAWN, SIDE_PX = 64, 128
"""Distinct pairs of images, which the rows take in turn, and their side."""
ROWS_PER_SHARD, ROWS_PER_KILLED_SHARD = 1000, 250
"""Shards of the exports that are killed are small, so that some are done at the kill and some are not."""
LOOK_EVERY_S = 0.05


class PeakWatch(threading.Thread):
    """Peak resident memory of a process and of the largest of those below it, in MB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.peak_mb: dict[str, float] = defaultdict(float)

    def run(self) -> None:
        """Look until the process ends."""
        while self._process.is_running():
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            for process in family:
                kind = "driver" if process is self._process else "worker"
                self.peak_mb[kind] = max(self.peak_mb[kind], _peak_mb(process.pid))
            time.sleep(LOOK_EVERY_S)


def _peak_mb(pid: int) -> float:
    """The kernel's own peak of a process, 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


def drawn_images(number: int) -> dict[str, bytes]:
    """Source, target and mask of one of the pairs."""
    rng = np.random.default_rng(number)
    members = {}
    for name in ("source", "target"):
        pixels = rng.integers(0, 256, (SIDE_PX // 8, SIDE_PX // 8, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((SIDE_PX, SIDE_PX))
        members[f"{name}.jpg"] = _encoded(image, "JPEG")
    members["region_mask.png"] = _encoded(Image.new("L", (SIDE_PX, SIDE_PX), 255), "PNG")
    return members


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def samples(count: int) -> Iterator[Sample]:
    """Rows with ids and texts of their own."""
    drawn = [drawn_images(number) for number in range(NUM_DRAWN)]
    for number in range(count):
        key = f"{hashlib.sha256(str(number).encode()).hexdigest()[:16]}-e1"
        texts = {
            "sample_id": key, "session_id": key, "turn": 1, "instruction": f"make thing number {number} blue",
            "source_caption": f"a red thing, number {number}", "target_caption": f"a blue thing, number {number}",
        }  # fmt: skip
        yield key, {**drawn[number % NUM_DRAWN], "json": json.dumps(texts).encode()}


def dataset(folder: Path, count: int, rows_per_shard: int = ROWS_PER_SHARD) -> Path:
    """A dataset of so many rows, made once."""
    place = folder / f"rows-{count}-{rows_per_shard}"
    if not (place / "shards.json").exists():
        write_shards(place, "bench", samples(count), rows_per_shard)
    return place


def start_export(rows: Path, out: Path, to: str, workers: int) -> subprocess.Popen[bytes]:
    """The command as a user runs it, in a process group of its own."""
    arguments = ["export", str(rows), "--to", to, "--out", str(out), "--workers", str(workers)]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )


def measured(rows: Path, out: Path, to: str, workers: int) -> tuple[float, dict[str, float]]:
    """Seconds of an export into a new folder, and peak memory in MB. Ends the process where it fails."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    process = start_export(rows, out, to, workers)
    watch = PeakWatch(process.pid)
    watch.start()
    if process.wait():
        sys.exit(f"the export to {to} failed; see {out.with_suffix('.log')}")
    return time.monotonic() - began, dict(watch.peak_mb)


def memory_grows(options: argparse.Namespace) -> bool:
    """Print time and memory by number of rows. True where memory grows by more than the bar."""
    is_missed = False
    for to in FORMATS:
        before: dict[str, float] = {}
        for count in options.sizes:
            out = options.folder / f"{to}-{count}"
            seconds, peak = measured(dataset(options.folder, count), out, to, options.workers)
            shutil.rmtree(out)
            growth = {kind: peak[kind] / before[kind] for kind in before}
            told = ", ".join(f"{kind} x {ratio:.2f}" for kind, ratio in sorted(growth.items()))
            peaks = ", ".join(f"{kind} {mb:.0f} MB" for kind, mb in sorted(peak.items()))
            print(
                f"{to:12s} {count:7,d} rows {seconds:7.1f} s {count / seconds:7.0f} rows/s  {peaks}  {told}", flush=True
            )
            is_missed |= any(ratio > MOST_GROWTH for ratio in growth.values())
            before = before or peak
    return bool(is_missed)


def hashes(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 of every file of an export, its state aside."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".export" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed_export(rows: Path, out: Path, victim: str, delay_s: float, workers: int) -> dict[str, object]:
    """Kill an export after `delay_s`, run it again, and say what happened."""
    shutil.rmtree(out, ignore_errors=True)
    process = start_export(rows, out, KILLED, workers)
    time.sleep(delay_s)
    hit = kill(process, victim)
    first_exit = process.wait()
    records = len(list((out / ".export" / "shards").glob("*.json")))
    again = start_export(rows, out, KILLED, workers).wait()
    return {
        "victim": victim, "after_s": round(delay_s, 2), "hit": hit, "first_exit": first_exit, "recorded": records,
        "resume_exit": again,
    }  # fmt: skip


def kill(process: subprocess.Popen[bytes], victim: str) -> bool:
    """Kill the driver, or one of its workers. False where it has ended, or has no worker."""
    try:
        driver = psutil.Process(process.pid)
        below = [one for one in driver.children() if "spawn_main" in " ".join(one.cmdline())]
        target = driver if victim == "driver" else next(iter(below), None)
        if target is None or process.poll() is not None:
            return False
        target.send_signal(signal.SIGKILL)
    except psutil.Error:
        return False
    return True


def kills_change_bytes(options: argparse.Namespace) -> bool:
    """Kill exports at random moments. True where one ends otherwise than the undisturbed export."""
    rows = dataset(options.folder, options.kill_rows, ROWS_PER_KILLED_SHARD)
    whole_s, _ = measured(rows, options.folder / "undisturbed", KILLED, options.workers)
    expected = hashes(options.folder / "undisturbed")
    rng = random.Random(options.seed)
    num_hits = num_good = 0
    for number in range(options.kills):
        out = options.folder / f"killed-{number:02d}"
        victim = ("driver", "worker")[number % 2]
        result = killed_export(rows, out, victim, rng.uniform(0, whole_s), options.workers)
        is_good = result["resume_exit"] == 0 and hashes(out) == expected
        num_hits, num_good = num_hits + bool(result["hit"]), num_good + is_good
        print(f"{number:2d} {'ok  ' if is_good else 'FAIL'} {json.dumps(result)}", flush=True)
        if is_good:
            shutil.rmtree(out)
    print(f"{num_good} of {options.kills} exports ended with the same bytes; {num_hits} kills hit a process")
    return bool(num_good < options.kills)


def main() -> None:
    """Measure memory, then kill. Exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=[5_000, 50_000], help="rows of the two exports")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--kill-rows", type=int, default=5_000, help="rows of each export that is killed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-export")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options.folder.mkdir(parents=True, exist_ok=True)
    is_missed = memory_grows(options)
    is_missed |= kills_change_bytes(options)
    sys.exit(is_missed)


if __name__ == "__main__":
    main()
