"""How fast the miniature world is on one core: scenes, images, masks, edits a second, and images of other sizes.

`make bench-world`. "first" counts the drawing of sprites and backgrounds, which are kept; "again" finds them all there.
The limit to compare with is memory: an image of 64 px has 12 KB, so 10,000 a second are 120 MB/s.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from zoo.world import SIZE_PX, edit_mask, render, sample_edit, scene_of, thing_masks  # noqa: E402  run from a checkout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")
LARGE_PX = 256


def per_second(work: Callable[[Item], object], items: Iterable[Item]) -> float:
    """Items a second that `work` gets through."""
    began, done = time.perf_counter(), 0
    for item in items:
        work(item)
        done += 1
    return done / (time.perf_counter() - began)


def main() -> int:
    """Print a line for each kind of work. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--scenes", type=int, default=20_000, help="%(default)s")
    count = parser.parse_args().scenes
    scenes = [scene_of(0, index) for index in range(count)]
    edits = [sample_edit(scene, random.Random(index)) for index, scene in enumerate(scenes)]
    few = scenes[: max(1, count // 20)]
    rates = {
        "scenes sampled": per_second(lambda index: scene_of(0, index), range(count)),
        f"images of {SIZE_PX} px, first": per_second(render, scenes),
        f"images of {SIZE_PX} px, again": per_second(render, scenes),
        "mask sets of a scene": per_second(thing_masks, scenes),
        "edits sampled": per_second(lambda index: sample_edit(scenes[index], random.Random(index)), range(count)),
        "edited images with their masks": per_second(lambda edit: (render(edit.target), edit_mask(edit)), edits),
        f"images of {LARGE_PX} px, first": per_second(lambda scene: render(scene, LARGE_PX), few),
        f"images of {LARGE_PX} px, again": per_second(lambda scene: render(scene, LARGE_PX), few),
    }
    for name, rate in rates.items():
        print(f"{name:36} {rate:>10,.0f}/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
