"""Builds that end at a number of rows: exactly that many, the same bytes for any workers and after kills.

`make bench-target-rows` draws 40 shards of 25 scenes, edits their captions and takes several numbers of rows. For each
number: rows in the dataset, shards read, and the least number of shards that have so many rows. Each number is built
with one worker, with three, and with a SIGKILL of the whole build at ten random moments; tars and tables must be the
same bytes. It exits with 1 when a dataset has another number of rows, when bytes differ, or when more than three times
the least number of shards was read. With `--image FILE` it draws shards by rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from evaluation.curves.plot import Series, draw_plot  # noqa: E402  the repository is not a package
from zoo.write_world import main as write_world  # noqa: E402

EDITLOOM = Path(sys.executable).with_name("editloom")
NUM_SHARDS, SCENES = 40, 25
WANTED = (10, 50, 100, 250, 500, 900)
NUM_KILLS = 10
MOST_READ = 3.0
"""Shards read, over the least number that has the rows."""
MANIFEST = """
name = "taken"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "filter_caption"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "edit_caption_wordnet"
edits_per_caption = 2
[[stage]]
use = "select"
best = [{{ per = "parent_id", keep = 1, by = "caption_num_words" }}]
[[stage]]
use = "take_rows"
target_rows = {wanted}
[[stage]]
use = "emit"
"""


@dataclass(frozen=True)
class Found:
    """One row of the table."""

    wanted: int
    rows: int
    read: int
    least: int
    is_same_with_three: bool
    is_same_after_kills: bool

    @property
    def is_good(self) -> bool:
        """True when all bars hold."""
        is_same = self.is_same_with_three and self.is_same_after_kills
        return self.rows == self.wanted and is_same and self.read <= MOST_READ * self.least


def main() -> int:
    """Run all builds and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-target-rows", help="%(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills (%(default)s)")
    parser.add_argument("--image", type=Path, help="draw shards read by rows wanted into this file")
    asked = parser.parse_args()
    shards = asked.folder / "shards"
    if not shards.exists():
        write_world([
            str(shards), "--shards", str(NUM_SHARDS), "--scenes-per-shard", str(SCENES), "--size-px", "64",
            "--seed", "9", "--captions", "canonical",
        ])  # fmt: skip
    rng = random.Random(asked.seed)
    per_shard = rows_by_shard(asked.folder, shards)
    found = [measure(asked.folder, shards, wanted, per_shard, rng) for wanted in WANTED]
    print("| rows wanted | rows | shards read | least shards | same bytes with 3 workers | same bytes after kills |")
    print("|---|---|---|---|---|---|")
    for one in found:
        print(f"| {' | '.join(map(str, astuple(one)))} |")
    if asked.image:
        draw(found, asked.image)
    is_good = all(one.is_good for one in found)
    print("all bars held" if is_good else "a bar was missed")
    return 0 if is_good else 1


def rows_by_shard(folder: Path, shards: Path) -> list[int]:
    """Rows that reach the last stage from each shard, of a build of the whole input."""
    out = build(folder, shards, NUM_SHARDS * SCENES * 2, "whole", "--workers", "2")
    listed = {
        entry["file"]: entry["samples"] for entry in json.loads((out / "dataset/shards.json").read_text())["shards"]
    }
    return [listed.get(f"{number:05d}.tar", 0) for number in range(NUM_SHARDS)]


def measure(folder: Path, shards: Path, wanted: int, per_shard: list[int], rng: random.Random) -> Found:
    """One row of the table."""
    one = build(folder, shards, wanted, f"{wanted}-one", "--workers", "1")
    three = build(folder, shards, wanted, f"{wanted}-three", "--workers", "3")
    killed = folder / "out" / f"{wanted}-killed"
    shutil.rmtree(killed, ignore_errors=True)
    for _ in range(NUM_KILLS):
        process = subprocess.Popen(
            command(folder, shards, wanted, killed, "--workers", "2"), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, cwd=ROOT,
        )  # fmt: skip
        time.sleep(rng.uniform(0.7, 4.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command(folder, shards, wanted, killed, "--workers", "2"), check=True, capture_output=True, cwd=ROOT)
    least = next(n for n in range(1, NUM_SHARDS + 1) if sum(per_shard[:n]) >= wanted)
    return Found(
        wanted=wanted,
        rows=pq.read_metadata(one / "dataset/samples.parquet").num_rows,
        read=json.loads((one / "run/quota.json").read_text())["shards"],
        least=least,
        is_same_with_three=hashes(three) == hashes(one),
        is_same_after_kills=hashes(killed) == hashes(one),
    )


def build(folder: Path, shards: Path, wanted: int, name: str, *flags: str) -> Path:
    """Build from nothing. Returns the run folder."""
    out = folder / "out" / name
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(command(folder, shards, wanted, out, *flags), check=True, capture_output=True, cwd=ROOT)
    return out


def command(folder: Path, shards: Path, wanted: int, out: Path, *flags: str) -> list[str]:
    """The command of a build, after its manifest is written."""
    manifest = folder / f"{wanted}.toml"
    manifest.write_text(MANIFEST.format(wanted=wanted))
    return [str(EDITLOOM), "build", str(manifest), "--shards", str(shards), "--out", str(out), "--json", *flags]


def hashes(out: Path) -> dict[str, str]:
    """sha256 of the tars and tables of a dataset."""
    files = [*(out / "dataset").glob("*.tar"), *(out / "dataset").glob("*.parquet")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def draw(found: list[Found], file: Path) -> None:
    """Shards by rows: those that were read, and the least number that has the rows."""
    read = Series("shards read", [(one.wanted, one.read) for one in found], [str(one.read) for one in found])
    least = Series(
        "fewest shards that have so many rows", [(one.wanted, one.least) for one in found], [""] * len(found)
    )
    title = "target_rows: a build reads little more than it takes"
    draw_plot([read, least], title=title, x_title="rows wanted", y_title="shards of 25 scenes").save(file)


if __name__ == "__main__":
    sys.exit(main())
