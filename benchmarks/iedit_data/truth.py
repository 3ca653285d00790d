"""The truth about a sample of an iEdit run: its scene, and how well each column fits it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from samples.stored_images import mask_image
from zoo.evaluation.metrics import iou
from zoo.world import COLOURS, NOUNS, Scene, facts_of, read_facts, scene_of, thing_masks

if TYPE_CHECKING:
    import numpy.typing as npt

ADDRESS = re.compile(r"/(\d+)/(\d{9})\.png$")


class Change(NamedTuple):
    """The one thing that an edit replaces: (colour, noun) before and after."""

    gone: tuple[str, str]
    come: tuple[str, str]


def scene_at(url: str) -> Scene:
    """The scene behind an address that `zoo.write_world --layout laion` gave out. Raises ValueError for any other."""
    match = ADDRESS.search(url)
    if match is None:
        raise ValueError(f"{url!r} is no address of a scene")
    return scene_of(int(match[1]), int(match[2]))


def caption_is_true(text: str, scene: Scene) -> bool:
    """Things with their colours, and the place, all as they are."""
    claimed, true = read_facts(text), facts_of(scene)
    return (claimed.things, claimed.place) == (true.things, true.place)


def change_of(source_caption: str, target_caption: str) -> Change | None:
    """The change of an edit, when it is one within the world: one thing, in its noun or its colour."""
    before, after = read_facts(source_caption), read_facts(target_caption)
    gone = list((Counter(before.things) - Counter(after.things)).elements())
    come = list((Counter(after.things) - Counter(before.things)).elements())
    if (len(gone), len(come), before.place, before.style) != (1, 1, after.place, after.style):
        return None
    same = [one == other for one, other in zip(gone[0], come[0], strict=True)]
    return Change(gone[0], come[0]) if sum(same) == 1 else None


def shows_change(change: Change, target: Scene) -> bool:
    """True when the target has the new thing: the new noun, or the noun in its new colour."""
    if change.gone[1] != change.come[1]:
        return any(thing.noun == change.come[1] for thing in target.things)
    return change.come in facts_of(target).things


def mask_iou(png: bytes, phrase: str, scene: Scene) -> float | None:
    """Intersection over union of a mask with the things that the phrase names, or None when there are none."""
    mask_HW = np.asarray(mask_image(png)) > 127
    true_HW = phrase_mask(phrase, scene, mask_HW.shape[0])
    return iou(mask_HW, true_HW) if true_HW.any() else None


def phrase_mask(phrase: str, scene: Scene, size_px: int) -> npt.NDArray[np.bool_]:
    """Where the things are that have every noun and colour of the phrase."""
    words = set(phrase.lower().split())
    nouns, colours = words & set(NOUNS), words & set(COLOURS)
    true_HW = np.zeros((size_px, size_px), dtype=bool)
    for thing, visible in zip(scene.things, thing_masks(scene, size_px), strict=True):
        if nouns and thing.noun in nouns and (not colours or thing.colour in colours):
            true_HW |= visible
    return true_HW
