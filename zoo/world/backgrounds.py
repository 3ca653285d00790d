"""The backgrounds of scenes: one function a place draws above the horizon, one below it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Colour = tuple[int, int, int]
    Draw = Callable[["Easel"], None]

SUPERSAMPLING = 2
UNITS = 16
"""Positions are in sixteenths of the image's side."""


class Easel:
    """A square image of `side_px`, sky or wall above `horizon_px`, ground below. Shapes are in units, y downwards."""

    def __init__(self, side_px: int, horizon_px: int, backdrop: Colour) -> None:
        self.image = Image.new("RGB", (side_px, side_px), backdrop)
        self.draw = ImageDraw.Draw(self.image)
        self.side_px = side_px
        self.horizon_px = horizon_px
        self.unit = side_px / UNITS


def _meadow_sky(easel: Easel) -> None:
    unit = easel.unit
    for x, y in ((2, 2), (10, 3)):
        easel.draw.ellipse((x * unit, y * unit, (x + 4) * unit, (y + 1.4) * unit), fill=(236, 244, 250))


def _sea(easel: Easel) -> None:
    unit = easel.unit
    easel.draw.rectangle((0, 0, easel.side_px, easel.horizon_px * 0.55), fill=(166, 218, 246))
    easel.draw.ellipse((11 * unit, unit, 14 * unit, 4 * unit), fill=(252, 232, 120))


def _facades(easel: Easel) -> None:
    unit = easel.unit
    for x, top, shade in ((0, 2, 140), (4, 4, 190), (8, 1, 150), (12, 3, 200)):
        wall = (x * unit, top * unit, (x + 3.6) * unit, easel.horizon_px)
        easel.draw.rectangle(wall, fill=(shade, shade - 16, shade - 24))
        for row in range(top + 1, int(easel.horizon_px / unit), 2):
            window = ((x + 1) * unit, row * unit, (x + 2.4) * unit, (row + 0.9) * unit)
            easel.draw.rectangle(window, fill=(90, 100, 120))


def _haze(easel: Easel) -> None:
    unit = easel.unit
    easel.draw.ellipse((1.5 * unit, unit, 4.5 * unit, 4 * unit), fill=(255, 240, 190))


def _woods(easel: Easel) -> None:
    unit = easel.unit
    for x in (1, 4, 7, 10, 13):
        easel.draw.rectangle((x * unit, 0, (x + 1) * unit, easel.horizon_px), fill=(74, 52, 36))


def _wall(easel: Easel) -> None:
    unit = easel.unit
    easel.draw.rectangle((0, 3 * unit, easel.side_px, 3.5 * unit), fill=(200, 150, 110))
    for x in (1, 6, 11):
        easel.draw.rectangle((x * unit, 0, (x + 4) * unit, 2.6 * unit), fill=(216, 180, 140))


def _peaks(easel: Easel) -> None:
    unit = easel.unit
    for x, top in ((-2, 3), (5, 1), (10, 4)):
        peak_x, peak_y = (x + 4) * unit, top * unit
        rock = ((peak_x, peak_y), (x * unit, easel.horizon_px), ((x + 9) * unit, easel.horizon_px))
        snow_y = peak_y + 1.8 * unit
        easel.draw.polygon(rock, fill=(110, 120, 142))
        easel.draw.polygon(((peak_x, peak_y), (peak_x - unit, snow_y), (peak_x + unit, snow_y)), fill=(246, 248, 252))


def _space(easel: Easel) -> None:
    unit = easel.unit
    for x, y in ((2, 2), (5, 5), (8, 1), (11, 4), (14, 2), (13, 7), (3, 7)):
        easel.draw.rectangle((x * unit, y * unit, (x + 0.4) * unit, (y + 0.4) * unit), fill=(250, 250, 220))


def _grass(easel: Easel) -> None:
    unit = easel.unit
    for x, y in ((1, 1), (5, 4), (9, 2), (13, 5), (15, 1), (3, 6)):
        top = easel.horizon_px + y * unit
        easel.draw.ellipse((x * unit, top, (x + 0.6) * unit, top + 0.6 * unit), fill=(250, 240, 140))


def _road(easel: Easel) -> None:
    unit, side_px = easel.unit, easel.side_px
    for x in (0.5, 4.5, 8.5, 12.5):
        stripe = (x * unit, side_px - 2 * unit, (x + 2) * unit, side_px - 1.4 * unit)
        easel.draw.rectangle(stripe, fill=(236, 236, 220))


def _dunes(easel: Easel) -> None:
    unit, horizon_px = easel.unit, easel.horizon_px
    easel.draw.ellipse((-4 * unit, horizon_px - unit, 8 * unit, horizon_px + 3 * unit), fill=(226, 166, 98))


def _tiles(easel: Easel) -> None:
    unit = easel.unit
    for row in range(int((easel.side_px - easel.horizon_px) / unit / 1.5) + 1):
        top = easel.horizon_px + row * 1.5 * unit
        for column in range(row % 2, 11, 2):
            tile = (column * 1.5 * unit, top, (column + 1) * 1.5 * unit, top + 1.5 * unit)
            easel.draw.rectangle(tile, fill=(150, 176, 190))


def _rocks(easel: Easel) -> None:
    unit = easel.unit
    for x, y in ((1, 2), (6, 5), (11, 1), (13, 4)):
        top = easel.horizon_px + y * unit
        easel.draw.ellipse((x * unit, top, (x + 1.6) * unit, top + 0.8 * unit), fill=(122, 118, 114))


def _craters(easel: Easel) -> None:
    unit = easel.unit
    for x, y in ((1, 1), (7, 4), (12, 2)):
        top = easel.horizon_px + y * unit
        easel.draw.ellipse((x * unit, top, (x + 2.4) * unit, top + unit), fill=(130, 130, 140))


def _plain(_easel: Easel) -> None:
    """Nothing on it."""


_LOOKS: dict[str, tuple[Colour, Draw, Colour, Draw]] = {  # place -> colour and drawing of backdrop, then of ground
    "meadow": ((150, 206, 246), _meadow_sky, (122, 190, 84), _grass),
    "beach": ((60, 152, 196), _sea, (236, 216, 156), _plain),
    "street": ((176, 172, 176), _facades, (104, 106, 112), _road),
    "desert": ((250, 204, 150), _haze, (214, 150, 84), _dunes),
    "forest": ((34, 74, 48), _woods, (92, 76, 52), _plain),
    "kitchen": ((244, 232, 206), _wall, (206, 222, 226), _tiles),
    "mountains": ((186, 210, 230), _peaks, (150, 146, 140), _rocks),
    "moon": ((14, 14, 32), _space, (164, 164, 172), _craters),
}


@lru_cache(maxsize=256)
def background(place: str, horizon_frac: float, size_px: int) -> npt.NDArray[np.uint8]:
    """The empty place as RGB, (size_px, size_px, 3). Do not write to it."""
    backdrop, draw_backdrop, ground, draw_ground = _LOOKS[place]
    large_px = size_px * SUPERSAMPLING
    easel = Easel(large_px, round(horizon_frac * size_px) * SUPERSAMPLING, backdrop)
    draw_backdrop(easel)
    easel.draw.rectangle((0, easel.horizon_px, large_px, large_px), fill=ground)
    draw_ground(easel)
    pixels = np.array(easel.image.resize((size_px, size_px), Image.Resampling.BOX))
    pixels.setflags(write=False)
    return pixels
