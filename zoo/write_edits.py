"""`python -m zoo.write_edits FOLDER --count N --seed S`: held-out edits of the miniature world with their true results.

A folder that `editloom evaluate pairs` reads: `cases.jsonl` and `images/<key>.source.png`, `.target.png`, `.mask.png`
(white where the edit may change the image). Scenes are those of the world of every evaluation, which no training
draws from: of seed 0 those that `zoo.batches.held_out` begins with, of another seed others. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zoo.batches import HELD_OUT_SEED
from zoo.world import KINDS, SIZE_PX, Edit, EditKind, edit_mask, possible_kinds, render, sample_edit, scene_of
from zoo.write_world import MIN_SIZE_PX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCENES_PER_SEED = 1_000_000


@dataclass(frozen=True, slots=True)
class EditOrder:
    """The number and the kinds of the edits to write.

    The kinds take turns: one edit of each, then again from the first kind, until `count` edits are made.
    """

    count: int
    seed: int
    kinds: tuple[EditKind, ...]
    size_px: int = SIZE_PX
    world_seed: int = HELD_OUT_SEED
    """The world of the scenes; another one is for training."""

    def edits(self) -> Iterator[tuple[int, Edit]]:
        """(number of the scene in its world, edit): for each kind in turn the next scene that can take it."""
        index = self.seed * SCENES_PER_SEED
        for number in range(self.count):
            kind = self.kinds[number % len(self.kinds)]
            while kind not in possible_kinds(scene := scene_of(self.world_seed, index)):
                index += 1
            yield index, sample_edit(scene, random.Random(f"edits {self.world_seed} {index} {kind}"), kind)
            index += 1


def write_edits(folder: Path, order: EditOrder) -> None:
    """Images first, `cases.jsonl` last: a folder that has it is complete."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = [_write_case(folder, index, edit, order) for index, edit in order.edits()]
    temporary = folder / "cases.jsonl.tmp"
    temporary.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    temporary.replace(folder / "cases.jsonl")


def _write_case(folder: Path, index: int, edit: Edit, order: EditOrder) -> dict[str, Any]:
    key = f"{index:09d}"
    pixels_by_name = {
        "source": render(edit.source, order.size_px),
        "target": render(edit.target, order.size_px),
        "mask": edit_mask(edit, order.size_px).astype(np.uint8) * 255,
    }
    files = {name: f"images/{key}.{name}.png" for name in pixels_by_name}
    for name, pixels in pixels_by_name.items():
        Image.fromarray(pixels).save(folder / files[name], "PNG")
    return {
        "key": key, **files, "source_caption": edit.source_caption, "target_caption": edit.target_caption,
        "instruction": edit.instruction, "reverse_instruction": edit.reverse_instruction,
        "source_phrase": edit.source_phrase, "target_phrase": edit.target_phrase, "edit_type": edit.kind,
        "world_seed": order.world_seed, "world_index": index,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the command line orders. Return 0."""
    parser = argparse.ArgumentParser(prog="python -m zoo.write_edits", description=str(__doc__).split(":", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="how many edits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which held-out scenes (%(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--size-px", type=int, default=SIZE_PX, help="side of the images (%(default)s)")
    given = parser.parse_args(argv)
    if given.count < 1 or given.seed < 0 or given.size_px < MIN_SIZE_PX:
        parser.error(f"needs at least one edit, a seed of 0 or more and {MIN_SIZE_PX} px")
    kinds = tuple(dict.fromkeys(given.kinds))
    write_edits(given.folder, EditOrder(given.count, given.seed, kinds, given.size_px))
    print(f"{given.count} edits in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
