"""`python -m zoo.write_edit_dataset FOLDER --count N --seed S`: exact edits of the miniature world, to train on.

A dataset as `emit` writes it, made without any model: source, true target, instruction and its reverse, both captions,
and with `--regions` the mask of where the edit may change the image. `--without-targets` leaves the targets out. Same
arguments, same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from samples.members import JSON, member
from samples.stored_images import mask_png
from zoo.batches import HELD_OUT_SEED
from zoo.dataset_shards import write_shards
from zoo.world import KINDS, SIZE_PX, Edit, edit_mask
from zoo.write_edits import EditOrder
from zoo.write_world import MIN_SIZE_PX, png_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "world-edits"
SAMPLES_PER_SHARD = 250
ID_HEX_DIGITS = 16


def samples_of(
    order: EditOrder, *, with_regions: bool, with_targets: bool = True
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members by suffix) of each edit of `order`."""
    for number, (_, edit) in enumerate(order.edits()):
        source = png_of(edit.source, order.size_px)
        key = f"{hashlib.sha256(source).hexdigest()[:ID_HEX_DIGITS]}-e{number}"
        members = {member("source_images").suffix("png"): source}
        if with_targets:
            members[member("target_image").suffix("png")] = png_of(edit.target, order.size_px)
        if with_regions:
            members[member("region_mask_png").suffix()] = mask_png(edit_mask(edit, order.size_px))
        yield key, members | {JSON: _json_of(key, edit, with_regions=with_regions)}


def _json_of(key: str, edit: Edit, *, with_regions: bool) -> bytes:
    known = {
        "sample_id": key, "session_id": key, "turn": 1, "source_caption": edit.source_caption,
        "target_caption": edit.target_caption, "instruction": edit.instruction,
        "reverse_instruction": edit.reverse_instruction, "source_phrase": edit.source_phrase,
        "target_phrase": edit.target_phrase, "edit_type": edit.kind, "edit_writer": "rule",
    }  # fmt: skip
    if with_regions:
        known["is_whole_image"] = edit.kind == "change_style"
    return json.dumps(known, sort_keys=True).encode()


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the command line orders. Return 0."""
    parser = argparse.ArgumentParser(prog="python -m zoo.write_edit_dataset", description=str(__doc__).split(":", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="how many edits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which world (%(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--regions", action="store_true", help="add the mask of where each edit may change the image")
    parser.add_argument("--without-targets", action="store_true", help="leave the true targets out")
    parser.add_argument("--size-px", type=int, default=SIZE_PX, help="side of the images (%(default)s)")
    parser.add_argument("--samples-per-shard", type=int, default=SAMPLES_PER_SHARD, help="%(default)s")
    given = parser.parse_args(argv)
    if min(given.count, given.samples_per_shard) < 1 or given.size_px < MIN_SIZE_PX:
        parser.error(f"needs at least one edit, one sample in each shard and {MIN_SIZE_PX} px")
    if given.seed < 0 or given.seed == HELD_OUT_SEED:
        parser.error(f"seed {given.seed} is none to train on: expected 0 or more, and not the held-out {HELD_OUT_SEED}")
    kinds = tuple(dict.fromkeys(given.kinds))
    order = EditOrder(given.count, 0, kinds, given.size_px, world_seed=given.seed)
    samples = samples_of(order, with_regions=given.regions, with_targets=not given.without_targets)
    print(f"{write_shards(given.folder, NAME, samples, given.samples_per_shard)} edits in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
