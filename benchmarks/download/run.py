"""The downloader of `read_laion` against img2dataset, side by side on a web of loopback addresses.

`make bench-download`: some thousand JPEGs of about 640 x 480 px made by code, on 32 addresses of a server that behaves
well, slowly (50 ms, 1 MB/s a connection) or badly (30 % are 404, 500, resets, silence, circles of redirects, pages).
Both sides get the same table, two processes, and the same order: shorter side 256, JPEG quality 95, tars of 500.
Sides alternate; the figure is the median of the rounds. Images a second are counted from the first shard's start to the
last one's end, so that neither side's imports weigh; whole wall time and CPU time are given too. Prints a table,
writes runs/bench-download/result.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from benchmarks.download.server import HOSTS  # noqa: E402  the repository is not a package
from benchmarks.shards import make_image  # noqa: E402

SCENARIOS = ("healthy", "slow", "failing")
ROWS_PER_SHARD = 500
WIDTH_PX, HEIGHT_PX = (560, 721), (420, 541)
"""Half-open ranges that widths and heights are drawn from."""
WANTED_RATIO = 1.5


def make_images(folder: Path, count: int) -> None:
    """Images `00000.jpg` …, the same at every run."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        size = int(rng.integers(*WIDTH_PX)), int(rng.integers(*HEIGHT_PX))
        image = make_image(rng, size)
        path = folder / f"{number:05d}.jpg"
        if not path.exists():
            path.write_bytes(image)


def make_table(path: Path, rows: int, port: int) -> None:
    """A table as LAION has it. Image n is on the n-th host, more or less."""
    urls = [f"http://{HOSTS[n * 7 % len(HOSTS)]}:{port}/{n}.jpg" for n in range(rows)]
    pq.write_table(pa.table({"URL": urls, "TEXT": [f"caption {n}" for n in range(rows)]}), path, row_group_size=1000)


def peer_python(folder: Path) -> Path:
    """The interpreter of a virtual environment with img2dataset, made at the first run."""
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    wanted = HERE / "requirements.txt"
    if not done.exists() or done.read_bytes() != wanted.read_bytes():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
        shutil.copyfile(wanted, done)
    return python


def timed(command: list[str | Path], log: Path) -> dict[str, Any]:
    """The last output of the command, its wall time and the CPU time of all its processes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    began = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=ROOT)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}; see {log}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found | {"wall_s": time.monotonic() - began, "cpu_s": usage.ru_utime + usage.ru_stime}


class Web:
    """The server, while the block lasts."""

    def __init__(self, images: Path, scenario: str, port: int) -> None:
        self._command: list[str | Path] = [sys.executable, HERE / "server.py", images, scenario, str(port)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            sys.exit("the server did not start")

    def __exit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGKILL)  # open connections would hold it
        self._process.communicate()


def lost(out: Path, pattern: str, rows: int) -> int:
    """Rows of the table without a status."""
    tables = [pq.read_table(path, columns=["url", "status"]).to_pylist() for path in out.rglob(pattern)]
    return rows - len({row["url"] for table in tables for row in table if row["status"]})


def measure(given: argparse.Namespace, scenario: str, port: int, python: Path) -> dict[str, Any]:
    """Rounds of both sides in one scenario."""
    folder: Path = given.folder
    table, out = folder / "table.parquet", folder / "out"
    sides: dict[str, tuple[list[str | Path], str]] = {
        "editloom": ([sys.executable, HERE / "ours.py", table, out], "*.status.parquet"),
        "img2dataset": ([python, HERE / "peer.py", table, out, "--threads", str(given.threads)], "*.parquet"),
    }
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with Web(folder / "images", scenario, port):
        for number in range(given.rounds):
            for side, (command, pattern) in sides.items() if number % 2 == 0 else reversed(sides.items()):
                shutil.rmtree(out, ignore_errors=True)
                found = timed([*command, "--rows-per-shard", str(ROWS_PER_SHARD)], folder / f"{side}.log")
                found |= {"images_per_s": found["images"] / found["work_s"], "lost": lost(out, pattern, given.rows)}
                runs[side].append(found | {"load": os.getloadavg()[0]})
    return {"scenario": scenario, "runs": runs, "sides": {side: summary(found) for side, found in runs.items()}}


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds, and the lost rows of all of them."""
    medians = {
        key: statistics.median(run[key] for run in runs) for key in ("images_per_s", "wall_s", "cpu_s", "images")
    }
    return medians | {"lost": sum(run["lost"] for run in runs)}


def report(results: list[dict[str, Any]]) -> None:
    """The table."""
    print(f"{'scenario':9} {'side':12} {'images/s':>9} {'images':>7} {'wall s':>7} {'CPU s':>7} {'lost URLs':>10}")
    for result in results:
        for side, s in result["sides"].items():
            print(
                f"{result['scenario']:9} {side:12} {s['images_per_s']:9.0f} {s['images']:7.0f} {s['wall_s']:7.1f} "
                f"{s['cpu_s']:7.1f} {s['lost']:10.0f}"
            )
        ours, peer = result["sides"]["editloom"], result["sides"]["img2dataset"]
        ratio = ours["images_per_s"] / peer["images_per_s"]
        bar = f"     (bar: at least {WANTED_RATIO:g})" if result["scenario"] == "healthy" else ""
        print(f"{result['scenario']:9} ratio        {ratio:9.2f}{bar}")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--images", type=int, default=400, help="different ones; they come round again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=64, help="of each of img2dataset's processes")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="all, if not given")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-download")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    make_images(given.folder / "images", given.images)
    python = peer_python(given.folder / "peer-venv")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    make_table(given.folder / "table.parquet", given.rows, port)
    size = sum(path.stat().st_size for path in (given.folder / "images").iterdir()) / given.images
    print(f"{given.rows} URLs, {size / 1000:.0f} KB each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    results = [measure(given, scenario, port, python) for scenario in given.scenario or SCENARIOS]
    (given.folder / "result.json").write_text(json.dumps(results, indent=1))
    report(results)


if __name__ == "__main__":
    main()
