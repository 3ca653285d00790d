"""Which copies of listed images the leakage check finds, how often it is wrong, and how fast it compares.

`make bench-leakage SHARDS=folder` with photographs in WebDataset tars; without, scenes of the miniature world. Each
image is put into a list, with its mirror image. Each copy is stored as a build stores it, and hashed as the stage does.
False alarms are counted between pieces of different photographs, and between different scenes: no piece shows what
another shows, but skies and walls are alike everywhere. "dHash" and "pHash" are what one hash alone would give.
The bars: at the stage's own distance all copies of photographs by encoding, scaling and mirroring are found (of scenes
95%), and of a million comparisons of unrelated pieces of photographs at most 5 are false alarms; a million rows against
10,000 hashes take at most 10 s.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  run from a checkout

from benchmarks.leakage.copies import COPIES, as_stored, photographs, pieces, scenes  # noqa: E402
from evaluation.hashed_images import views  # noqa: E402
from samples.perceptual_hashes import image_hash  # noqa: E402
from samples.stored_images import made_image  # noqa: E402
from stages.check_leakage import REDUCED_PX, CheckLeakage  # noqa: E402
from stages.leakage.lookup import HashLookup  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Hashes = NDArray[np.uint64]
    Distances = NDArray[np.uint8]

LIMITS = (0, 2, 4, 6, 8, 10, 12, 14)
OWN = int(CheckLeakage.model_fields["max_distance"].default)
MUST_FIND = ("the same", "JPEG, quality 75", "JPEG, quality 30", "0.5 x the size", "0.25 x the size", "mirrored")
MOST_FALSE_PER_MILLION, MOST_SECONDS = 5, 10.0
LEAST_FOUND = {"photographs": 1.0, "scenes": 0.95}
NUM_QUERIES, NUM_LISTED = 1_000_000, 10_000
PIECES_EACH = 150


def hashes_of(images: list[Image], *, is_listed: bool = False) -> Hashes:
    """(N, 2): dHash and pHash of the views of listed images, or of images as a build stores them."""
    if is_listed:
        rows = [image_hash(view) for image in images for view in views(image, mirrored=True)]
    else:
        rows = [image_hash(made_image(as_stored(image), REDUCED_PX)) for image in images]
    return np.array([(one.dhash, one.phash) for one in rows], np.uint64)


def distances(one: Hashes, other: Hashes) -> Distances:
    """(N, M, 2): bits that differ."""
    found: Distances = np.bitwise_count(one[:, None] ^ other[None])
    return found


def found_copies(images: list[Image]) -> dict[str, list[float]]:
    """Copy -> the share found within each of LIMITS, by both hashes."""
    listed = [hashes_of([image], is_listed=True) for image in images]
    shares = {}
    for name, copy in COPIES.items():
        copies = hashes_of([copy(image) for image in images])
        nearest = [int(distances(copies[place : place + 1], own).max(axis=2).min()) for place, own in enumerate(listed)]
        shares[name] = [float(np.mean([one <= limit for one in nearest])) for limit in LIMITS]
    return shares


def false_alarms(numbers: Hashes, hashes: Hashes) -> tuple[int, dict[str, list[float]]]:
    """(comparisons, way -> false alarms of a million within each of LIMITS), between images of different numbers."""
    counts = {way: np.zeros(len(LIMITS)) for way in ("both", "dHash", "pHash")}
    total = 0
    for place in range(len(hashes)):
        others = hashes[place + 1 :][numbers[place + 1 :] != numbers[place]]
        total += len(others)
        bits = distances(hashes[place : place + 1], others)[0]
        for way, found in (("both", bits.max(axis=1, initial=0)), ("dHash", bits[:, 0]), ("pHash", bits[:, 1])):
            counts[way] += [int((found <= limit).sum()) for limit in LIMITS] if len(others) else 0
    return total, {way: list(found * 1e6 / max(total, 1)) for way, found in counts.items()}


def seconds_to_compare() -> tuple[float, float]:
    """(seconds to make the tables, seconds for a million rows) of random hashes, on one core."""
    rng = np.random.default_rng(0)
    listed, queries = (rng.integers(0, 2**64, (size, 2), np.uint64) for size in (NUM_LISTED, NUM_QUERIES))
    began = time.perf_counter()
    lookup = HashLookup(listed[:, 0], listed[:, 1], OWN)
    made = time.perf_counter()
    for start in range(0, NUM_QUERIES, 1000):
        lookup.nearest(queries[start : start + 1000, 0], queries[start : start + 1000, 1])
    return made - began, time.perf_counter() - made


def seconds_to_hash(images: list[Image]) -> float:
    """Seconds of one core for an image as a build stores it."""
    stored = [as_stored(image) for image in images]
    began = time.process_time()
    for one in stored:
        image_hash(made_image(one, REDUCED_PX))
    return (time.process_time() - began) / len(stored)


def row_of(name: str, values: list[float], form: str) -> str:
    """A line of a table in Markdown."""
    return f"| {name} | " + " | ".join(format(value, form) for value in values) + " |"


def main() -> int:
    """Print three tables. Return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("shards", nargs="?", default="", help="folder of tars with photographs")
    parser.add_argument("--scenes", type=int, default=1000, help="scenes, where there are no photographs: %(default)s")
    options = parser.parse_args()
    images = photographs(Path(options.shards)) if options.shards else scenes(options.scenes)
    kind = "photographs" if options.shards else "scenes"
    print(f"{len(images)} {kind}; found within a distance of")
    print(f"| copy | {' | '.join(map(str, LIMITS))} |\n|---|{'---|' * len(LIMITS)}")
    shares = found_copies(images)
    print("\n".join(row_of(name, found, ".0%") for name, found in shares.items()))

    unrelated = list(pieces(images, PIECES_EACH)) if options.shards else list(enumerate(images))
    numbers = np.array([number for number, _ in unrelated], np.uint64)
    total, alarms = false_alarms(numbers, hashes_of([image for _, image in unrelated]))
    print(f"\n{total:,} comparisons of unrelated images; false alarms of a million within a distance of")
    print(f"| hashes | {' | '.join(map(str, LIMITS))} |\n|---|{'---|' * len(LIMITS)}")
    print("\n".join(row_of(name, found, ",.1f") for name, found in alarms.items()))

    making, comparing = seconds_to_compare()
    compared = f"{NUM_QUERIES:,} rows against {NUM_LISTED:,} hashes at distance {OWN}"
    print(f"\n{compared}: {comparing:.1f} s, tables {making:.2f} s")
    print(f"an image of a build decoded and hashed: {seconds_to_hash(images[:32]) * 1e3:.1f} ms")

    at = LIMITS.index(OWN)
    missed = [f"{name}: {shares[name][at]:.0%} found" for name in MUST_FIND if shares[name][at] < LEAST_FOUND[kind]]
    if options.shards and alarms["both"][at] > MOST_FALSE_PER_MILLION:
        missed.append(f"{alarms['both'][at]:.1f} false alarms of a million")
    missed += [f"{comparing:.1f} s to compare"] if comparing > MOST_SECONDS else []
    print("\n".join(f"MISSED: {one}" for one in missed) or "every bar is kept")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
