"""Read a scene of the miniature world from its pixels: place, style, horizon, and the things with their places.

Reading means to draw: every place, style and horizon is drawn and compared with the image, then every thing that fits
into each part that is left. Nothing is known of the image but that it may be of the world; `misfit` says how far it is
from the nearest scene that was found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from zoo.world.backgrounds import background
from zoo.world.scene import HORIZONS_FRAC, SIZES_FRAC, Scene, Thing, render
from zoo.world.sprites import sprite
from zoo.world.styles import stylise
from zoo.world.vocabulary import COLOURS, NOUNS, PLACES, STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from zoo.world.scene import Pixels

    Levels = npt.NDArray[np.int16]
    Mask = npt.NDArray[np.bool_]

DIFFERS = 24
"""Levels, summed over the channels, from which on a pixel is not that of the background."""
MIN_PART_FRAC = 0.004
"""Share of the image that a part must have to be looked at as a thing."""
SLACK_PX = 3
"""Most pixels by which a part's box may differ from that of a sprite, at 64 px: a snowflake hides two."""
SHAPES_TRIED = 6
"""Silhouettes that are drawn in every colour."""
GOOD_FIT = 1.5
"""Mean difference in levels below which an image is explained."""
CUTS_FRAC = ((0.5,), (1 / 3, 2 / 3))
"""Columns between the slots of two and of three things."""
WORD_OF_SIZE = {size_frac: word for sizes in SIZES_FRAC.values() for word, size_frac in sizes.items()}


@dataclass(frozen=True, slots=True)
class Reading:
    """The nearest scene that was found, and the mean difference of its drawing from the image, in levels 0 to 255."""

    scene: Scene
    misfit: float


def read_scene(pixels: Pixels) -> Reading:
    """The scene of a square RGB image, (size, size, 3).

    Things may touch, and one thing may be in several pieces. So parts are looked for in several ways until one of them
    explains the image: pieces that are close are one part, or are not, or the image is cut between the slots.
    """
    size_px = len(pixels)
    place, style, horizon = _read_background(pixels)
    empty = Scene((), place, style, horizon)
    differs = np.abs(pixels.astype(np.int16) - render(empty, size_px)).sum(axis=2) > DIFFERS
    best: Reading | None = None
    for parts in _ways_to_part(differs):
        things: list[Thing] = []
        for part in parts:
            fitting = _read_thing(pixels, part, replace(empty, things=tuple(things)))
            things += [] if fitting is None else [fitting]
        scene = replace(empty, things=tuple(sorted(things, key=lambda thing: thing.x_frac)))
        misfit = float(np.abs(pixels.astype(np.int16) - render(scene, size_px)).mean())
        if best is None or misfit < best.misfit:
            best = Reading(scene, misfit)
        if best.misfit < GOOD_FIT:
            break
    assert best is not None
    return best


def _ways_to_part(differs: Mask) -> Iterator[list[Mask]]:
    """The parts of the image in each of the ways to look for them."""
    yield _parts(_grown(differs), differs)
    yield _parts(differs, differs)
    for cuts_frac in CUTS_FRAC:
        cut = differs.copy()
        cut[:, [round(at * len(differs)) for at in cuts_frac]] = False
        yield _parts(cut, cut)


@lru_cache(maxsize=4)
def _backgrounds(size_px: int) -> tuple[list[tuple[str, str | None, float]], Levels]:
    names = [(place, style, horizon) for place in PLACES for style in (None, *STYLES) for horizon in HORIZONS_FRAC]
    drawn = []
    for place, style, horizon in names:
        plain = background(place, horizon, size_px)
        drawn.append(plain if style is None else stylise(plain, style))
    return names, np.stack(drawn).astype(np.int16)


def _read_background(pixels: Pixels) -> tuple[str, str | None, float]:
    """The background that most pixels fit: those that a thing covers fit none."""
    names, drawn_NHWC = _backgrounds(len(pixels))
    far_NHW = np.abs(drawn_NHWC - pixels.astype(np.int16)).sum(axis=3)
    return names[int(np.minimum(far_NHW, DIFFERS * 2).sum(axis=(1, 2)).argmin())]


def _parts(mask: Mask, differs: Mask) -> list[Mask]:
    """Parts of `differs` whose pixels hang together in `mask`, the largest first, specks left out."""
    left = mask.copy()
    least = MIN_PART_FRAC * mask.size
    found = []
    while left.any():
        part = np.zeros_like(left)
        part[np.unravel_index(left.argmax(), left.shape)] = True
        while True:
            larger = _grown(part) & left
            if (larger == part).all():
                break
            part = larger
        left &= ~part
        if (part & differs).sum() >= least:
            found.append(part & differs)
    return sorted(found, key=lambda one: -int(one.sum()))


def _grown(mask: Mask) -> Mask:
    """The mask with its neighbours to all four sides."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    tall = wide.copy()
    tall[:, 1:] |= wide[:, :-1]
    tall[:, :-1] |= wide[:, 1:]
    return tall


def _read_thing(pixels: Pixels, part: Mask, around: Scene) -> Thing | None:
    """The thing whose drawing is nearest to the part, or None where no thing has such a box.

    Shapes are compared by their silhouettes first, and the best of them pixel by pixel, in every colour.
    """
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    shapes = sorted(_shapes(part, box), key=lambda one: one[0])[:SHAPES_TRIED]
    window = np.s_[max(0, box[1] - SLACK_PX) : box[3] + SLACK_PX, max(0, box[0] - SLACK_PX) : box[2] + SLACK_PX]
    best: tuple[float, Thing] | None = None
    for _, thing in shapes:
        for colour in COLOURS:
            tried = replace(thing, colour=colour)
            drawn = render(replace(around, things=(*around.things, tried)), len(pixels))
            far = float(np.abs(drawn[window].astype(np.int16) - pixels[window]).mean())
            if best is None or far < best[0]:
                best = far, tried
    return None if best is None else best[1]


def _shapes(part: Mask, box: tuple[int, int, int, int]) -> list[tuple[float, Thing]]:
    """(share of the pixels that differ, thing of any colour) of each silhouette that has the part's box."""
    size_px = len(part)
    slack = max(SLACK_PX, SLACK_PX * size_px // 64)
    found = []
    for size_frac, word in WORD_OF_SIZE.items():
        side_px = max(4, round(size_frac * size_px))
        for noun in NOUNS:
            for is_flipped in (False, True):
                x0, y0, x1, y1 = _box_of(noun, side_px, is_flipped)
                if abs(x1 - x0 - box[2] + box[0]) > slack or abs(y1 - y0 - box[3] + box[1]) > slack:
                    continue
                left, top = (round((box[i] + box[i + 2] - a - b) / 2) for i, (a, b) in enumerate(((x0, x1), (y0, y1))))
                left, top = (min(max(at, 0), size_px - side_px) for at in (left, top))
                alpha = np.zeros_like(part)
                alpha[top : top + side_px, left : left + side_px] = _alpha(noun, side_px, is_flipped)
                thing = Thing(
                    noun, "red", word, size_frac, (left + side_px / 2) / size_px, (top + side_px) / size_px, is_flipped
                )
                found.append((float((alpha ^ part).sum() / max(1, part.sum())), thing))
    return found


@lru_cache(maxsize=4096)
def _alpha(noun: str, side_px: int, is_flipped: bool) -> Mask:
    visible: Mask = sprite(noun, "red", side_px, is_flipped=is_flipped)[..., 3] >= 64
    return visible


@lru_cache(maxsize=4096)
def _box_of(noun: str, side_px: int, is_flipped: bool) -> tuple[int, int, int, int]:
    visible = _alpha(noun, side_px, is_flipped)
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
