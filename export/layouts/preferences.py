"""Preference pairs: two edits of one source image by one instruction, of which one is better.

Where a layout has a place for each (left and right, 0 and 1), the better one is in either place for half of the rows,
by a hash of the row's id. So nothing can be learnt from the place.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from export.format import LeftOut, LeftOutError
from samples.stored_images import image_size

if TYPE_CHECKING:
    from export.rows import Encoded, Row
    from export.shard_folder import ShardFolder

REJECTED = "rejected"
NEEDS = ("source_images", "target_image", "rejected_image")
CHOSEN_FIRST, CHOSEN_SECOND = "rows have the better edit first", "rows have the better edit second"
"""Words of the card for the numbers of such rows."""


def is_chosen_first(row: Row, shard: ShardFolder) -> bool:
    """Whether the better edit comes first, by a hash of the sample id. The card has the numbers."""
    found = bool(hashlib.sha256(row.sample_id.encode()).digest()[0] & 1)
    shard.notes[CHOSEN_FIRST if found else CHOSEN_SECOND] += 1
    return found


def edits_of(row: Row) -> tuple[Encoded, Encoded]:
    """(the better edit, the rejected edit)."""
    return row.image("target_image"), row.image("rejected_image")


def check_sizes(chosen: Encoded, rejected: Encoded) -> None:
    """Raise LeftOutError for edits of different sizes, ImageProblem for a file that is no image."""
    sizes = image_size(chosen.content), image_size(rejected.content)
    if sizes[0] != sizes[1]:
        shown = " and ".join(f"{width} x {height}" for width, height in sizes)
        raise LeftOutError(LeftOut.SIZES_DIFFER, f"the two edits have {shown} pixels; the trainer wants one size")
