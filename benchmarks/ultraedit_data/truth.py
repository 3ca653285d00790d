"""The truth about a drawn pair: whether it shows its edit and keeps all else, by what a reader sees on both images.

A drawn image has no true scene, so a reader names the facts of both images and the captions say which of them should
differ. Readers err: `readers.reliability` measures how often, on scenes whose truth is known.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evaluation.metrics import ssim_in_and_out, unit_range
from samples.stored_images import mask_array
from zoo.evaluation.metrics import iou
from zoo.world import Facts, Scene, read_facts, scene_of, thing_masks
from zoo.world.judge import fault_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from PIL.Image import Image

    Things = Counter[tuple[str, str]]

JUDGED_FIELDS = {
    "edit_type": "edit_type", "instruction": "instruction", "object": "edit_object",
    "target_caption": "target_caption", "reverse_instruction": "reverse_instruction",
}  # fmt: skip
"""Field of an answer of the language model -> its column."""


class Verdict(NamedTuple):
    """`shows`: the change of the captions is there, on both images. `keeps`: nothing else differs between them."""

    shows: bool
    keeps: bool


def verdict(source_caption: str, target_caption: str, before: Facts, after: Facts) -> Verdict:
    """Judge the facts that were read on source and target. A style of None in both readings is not judged."""
    asked, wanted = read_facts(source_caption), read_facts(target_caption)
    gone, come = Counter(asked.things) - Counter(wanted.things), Counter(wanted.things) - Counter(asked.things)
    seen, left = Counter(before.things), Counter(after.things)
    shows = gone <= seen and come <= left and not (left - Counter(wanted.things)) & gone
    keeps = seen - gone == left - come
    for was, now, first, second in zip(before[1:], after[1:], asked[1:], wanted[1:], strict=True):
        if first == second:
            keeps = keeps and was == now
        else:
            shows = shows and (was, now) == (first, second)
    return Verdict(shows, keeps)


def edit_fault(row: Mapping[str, Any]) -> str | None:
    """Why the edit of a row is not true within the world, or None where it is."""
    return fault_of(row["source_caption"], {field: row[column] for field, column in JUDGED_FIELDS.items()})


def anchor_scene(metadata: str) -> Scene:
    """The scene of an anchor, from the metadata that `zoo.write_world` gave it."""
    known = json.loads(metadata)
    return scene_of(known["world_seed"], known["world_index"])


def changed_mask(scene: Scene, source_caption: str, target_caption: str, size_px: int) -> npt.NDArray[np.bool_]:
    """Where the things are, on the anchor, that the target caption no longer has: (size_px, size_px)."""
    gone = Counter(read_facts(source_caption).things) - Counter(read_facts(target_caption).things)
    mask_HW = np.zeros((size_px, size_px), dtype=bool)
    for thing, visible in zip(scene.things, thing_masks(scene, size_px), strict=True):
        if gone[thing.colour, thing.noun] > 0:
            mask_HW |= visible
    return mask_HW


def region_iou(png: bytes, scene: Scene, source_caption: str, target_caption: str) -> float:
    """Intersection over union of a mask with the true one."""
    mask_HW = mask_array(png)
    return iou(mask_HW, changed_mask(scene, source_caption, target_caption, mask_HW.shape[0]))


def outside_ssim(source: Image, target: Image, region_png: bytes) -> float:
    """Structural similarity of the two images where the region is not. 1 where the region is all of the image."""
    outside = ssim_in_and_out(unit_range(source), unit_range(target), mask_array(region_png))[1]
    return 1.0 if outside is None else outside
