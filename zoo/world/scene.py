"""Scenes of the miniature world: what stands where, sampled from a seed, and the picture of it.

Sizes and positions are fractions of the image's side, so that any size renders; 64 px is the zoo's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw

from zoo.world.sprites import sprite
from zoo.world.vocabulary import COLOURS, NOUNS, PLACES, SIZES, STYLES

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

SIZE_PX = 64
HORIZONS_FRAC = (0.5, 0.55, 0.6)
STYLED_FRAC = 0.2
NUM_THINGS_WEIGHTS = (0.5, 0.35, 0.15)  # of scenes with one, two and three things
SLOTS_FRAC: dict[int, tuple[float, ...]] = {1: (0.29, 0.5, 0.71), 2: (0.27, 0.73), 3: (0.18, 0.5, 0.82)}
SIZES_FRAC: dict[int, dict[str, float]] = {  # by number of things: they never overlap
    1: {"small": 0.36, "medium": 0.44, "large": 0.52},
    2: {"small": 0.32, "medium": 0.36, "large": 0.42},
    3: {"small": 0.25, "medium": 0.28, "large": 0.31},
}
JITTER_FRAC = 0.03

Position = Literal["left", "centre", "right"]


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: its word, its colour, and where it stands (centre of its lower edge)."""

    noun: str
    colour: str
    size: str
    size_frac: float
    x_frac: float
    bottom_frac: float
    is_flipped: bool = False

    @property
    def position(self) -> Position:
        """Which third of the image it stands in, near enough for words."""
        return "left" if self.x_frac < 0.4 else "right" if self.x_frac > 0.6 else "centre"

    @property
    def phrase(self) -> str:
        """As a mask or detection prompt names it: "red car"."""
        return f"{self.colour} {self.noun}"


@dataclass(frozen=True, slots=True)
class Scene:
    """One to three things, left to right, in a place, in a style or none."""

    things: tuple[Thing, ...]
    place: str
    style: str | None = None
    horizon_frac: float = HORIZONS_FRAC[1]

    def with_thing(self, index: int, thing: Thing) -> Scene:
        """The same scene with the thing at `index` replaced; order stays left to right."""
        things = [*self.things[:index], thing, *self.things[index + 1 :]]
        return replace(self, things=tuple(sorted(things, key=lambda one: one.x_frac)))


def sample_scene(rng: random.Random, *, num_things: int | None = None, style: str | Literal["any"] | None = "any") -> Scene:
    """A scene drawn from `rng`. Things of one scene differ in noun, so that a phrase names one of them."""
    count = num_things or rng.choices((1, 2, 3), NUM_THINGS_WEIGHTS)[0]
    nouns = rng.sample(NOUNS, count)
    slots = [rng.choice(SLOTS_FRAC[1])] if count == 1 else SLOTS_FRAC[count]
    things = tuple(sample_thing(rng, noun, slot, count) for noun, slot in zip(nouns, slots, strict=True))
    if style == "any":
        style = rng.choice(tuple(STYLES)) if rng.random() < STYLED_FRAC else None
    return Scene(things, rng.choice(tuple(PLACES)), style, rng.choice(HORIZONS_FRAC))


def sample_thing(rng: random.Random, noun: str, slot_frac: float, num_things: int) -> Thing:
    """A thing of any colour and size near `slot_frac`, small enough to share the image with the others."""
    size = rng.choice(SIZES)
    return Thing(
        noun=noun,
        colour=rng.choice(tuple(COLOURS)),
        size=size,
        size_frac=SIZES_FRAC[num_things][size],
        x_frac=slot_frac + rng.uniform(-JITTER_FRAC, JITTER_FRAC),
        bottom_frac=rng.uniform(0.78, 0.92),
        is_flipped=rng.random() < 0.5,
    )


def scene_of(seed: int, index: int) -> Scene:
    """Scene number `index` of the world `seed`; the same for ever, whatever was drawn before."""
    return sample_scene(random.Random(f"{seed}/{index}"))


def render(scene: Scene, size_px: int = SIZE_PX) -> Pixels:
    """The picture as RGB, (size_px, size_px, 3), uint8."""
    image = _background(scene.place, scene.horizon_frac, size_px).copy()
    for thing in scene.things:
        (y0, x0), pixels = _placed(thing, size_px)
        window = image[y0 : y0 + pixels.shape[0], x0 : x0 + pixels.shape[1]]
        alpha = pixels[..., 3:].astype(np.uint16)
        window[:] = ((window * (255 - alpha) + pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return image if scene.style is None else _stylise(image, scene.style)


def thing_masks(scene: Scene, size_px: int = SIZE_PX) -> npt.NDArray[np.bool_]:
    """Which pixels show each thing: (number of things, size_px, size_px); no pixel belongs to two."""
    masks = np.zeros((len(scene.things), size_px, size_px), dtype=bool)
    for index, thing in enumerate(scene.things):
        (y0, x0), pixels = _placed(thing, size_px)
        visible = pixels[..., 3] >= 128
        window = np.s_[y0 : y0 + visible.shape[0], x0 : x0 + visible.shape[1]]
        masks[:index][(slice(None), *window)] &= ~visible
        masks[index][window] = visible
    return masks


def boxes(masks_NHW: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Tight boxes (x0, y0, x1, y1) in pixels, right and lower edges exclusive: (number of masks, 4)."""
    found = []
    for mask in masks_NHW:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        found.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return np.array(found, dtype=np.float32).reshape(-1, 4)


def panoptic(scene: Scene, size_px: int = SIZE_PX) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Segment number of each pixel, (size_px, size_px), and the label of each segment.

    Segments 0 and 1 are the stuff above and below the horizon, the others the things from left to right.
    """
    place = PLACES[scene.place]
    segments = np.zeros((size_px, size_px), dtype=np.uint8)
    segments[round(scene.horizon_frac * size_px) :] = 1
    for index, mask in enumerate(thing_masks(scene, size_px)):
        segments[mask] = index + 2
    return segments, (place.backdrop, place.ground, *(thing.noun for thing in scene.things))


def _placed(thing: Thing, size_px: int) -> tuple[tuple[int, int], Pixels]:
    """The upper left corner (y, x) of the thing's sprite, and the sprite; moved inwards where it would be cut."""
    side_px = max(4, round(thing.size_frac * size_px))
    x0 = min(max(round(thing.x_frac * size_px - side_px / 2), 0), size_px - side_px)
    y0 = min(max(round(thing.bottom_frac * size_px) - side_px, 0), size_px - side_px)
    return (y0, x0), sprite(thing.noun, thing.colour, side_px, is_flipped=thing.is_flipped)


_GROUND: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {  # backdrop, ground
    "meadow": ((150, 206, 246), (122, 190, 84)),
    "beach": ((60, 152, 196), (236, 216, 156)),
    "street": ((176, 172, 176), (104, 106, 112)),
    "desert": ((250, 204, 150), (214, 150, 84)),
    "forest": ((34, 74, 48), (92, 76, 52)),
    "kitchen": ((244, 232, 206), (206, 222, 226)),
    "mountains": ((186, 210, 230), (150, 146, 140)),
    "moon": ((14, 14, 32), (164, 164, 172)),
}


@lru_cache(maxsize=256)
def _background(place: str, horizon_frac: float, size_px: int) -> Pixels:
    large_px = size_px * 2
    backdrop, ground = _GROUND[place]
    image = Image.new("RGB", (large_px, large_px), backdrop)
    draw = ImageDraw.Draw(image)
    horizon_px = round(horizon_frac * size_px) * 2
    _draw_backdrop(draw, place, large_px, horizon_px)
    draw.rectangle((0, horizon_px, large_px, large_px), fill=ground)
    _draw_ground(draw, place, large_px, horizon_px)
    pixels = np.array(image.resize((size_px, size_px), Image.Resampling.BOX))
    pixels.setflags(write=False)
    return pixels


def _draw_backdrop(draw: ImageDraw.ImageDraw, place: str, side_px: int, horizon_px: int) -> None:
    unit = side_px / 16
    if place == "meadow":
        for x, y in ((2, 2), (10, 3)):
            draw.ellipse((x * unit, y * unit, (x + 4) * unit, (y + 1.4) * unit), fill=(236, 244, 250))
    elif place == "beach":
        draw.rectangle((0, 0, side_px, horizon_px * 0.55), fill=(166, 218, 246))
        draw.ellipse((11 * unit, unit, 14 * unit, 4 * unit), fill=(252, 232, 120))
    elif place == "street":
        for x, top, shade in ((0, 2, 140), (4, 4, 190), (8, 1, 150), (12, 3, 200)):
            draw.rectangle((x * unit, top * unit, (x + 3.6) * unit, horizon_px), fill=(shade, shade - 16, shade - 24))
            for row in range(top + 1, int(horizon_px / unit), 2):
                draw.rectangle(((x + 1) * unit, row * unit, (x + 2.4) * unit, (row + 0.9) * unit), fill=(90, 100, 120))
    elif place == "desert":
        draw.ellipse((1.5 * unit, unit, 4.5 * unit, 4 * unit), fill=(255, 240, 190))
    elif place == "forest":
        for x in (1, 4, 7, 10, 13):
            draw.rectangle((x * unit, 0, (x + 1) * unit, horizon_px), fill=(74, 52, 36))
    elif place == "kitchen":
        draw.rectangle((0, 3 * unit, side_px, 3.5 * unit), fill=(200, 150, 110))
        for x in (1, 6, 11):
            draw.rectangle((x * unit, 0, (x + 4) * unit, 2.6 * unit), fill=(216, 180, 140))
    elif place == "mountains":
        for x, top in ((-2, 3), (5, 1), (10, 4)):
            peak = ((x + 4) * unit, top * unit)
            draw.polygon((peak, (x * unit, horizon_px), ((x + 9) * unit, horizon_px)), fill=(110, 120, 142))
            draw.polygon((peak, (peak[0] - unit, peak[1] + 1.8 * unit), (peak[0] + unit, peak[1] + 1.8 * unit)), fill=(246, 248, 252))  # fmt: skip
    elif place == "moon":
        for x, y in ((2, 2), (5, 5), (8, 1), (11, 4), (14, 2), (13, 7), (3, 7)):
            draw.rectangle((x * unit, y * unit, (x + 0.4) * unit, (y + 0.4) * unit), fill=(250, 250, 220))


def _draw_ground(draw: ImageDraw.ImageDraw, place: str, side_px: int, horizon_px: int) -> None:
    unit = side_px / 16
    if place == "meadow":
        for x, y in ((1, 1), (5, 4), (9, 2), (13, 5), (15, 1), (3, 6)):
            top = horizon_px + y * unit
            draw.ellipse((x * unit, top, (x + 0.6) * unit, top + 0.6 * unit), fill=(250, 240, 140))
    elif place == "street":
        for x in (0.5, 4.5, 8.5, 12.5):
            draw.rectangle((x * unit, side_px - 2 * unit, (x + 2) * unit, side_px - 1.4 * unit), fill=(236, 236, 220))
    elif place == "desert":
        draw.ellipse((-4 * unit, horizon_px - unit, 8 * unit, horizon_px + 3 * unit), fill=(226, 166, 98))
    elif place == "kitchen":
        for row in range(int((side_px - horizon_px) / unit / 1.5) + 1):
            for column in range(row % 2, 11, 2):
                top = horizon_px + row * 1.5 * unit
                draw.rectangle((column * 1.5 * unit, top, (column + 1) * 1.5 * unit, top + 1.5 * unit), fill=(150, 176, 190))
    elif place == "mountains":
        for x, y in ((1, 2), (6, 5), (11, 1), (13, 4)):
            top = horizon_px + y * unit
            draw.ellipse((x * unit, top, (x + 1.6) * unit, top + 0.8 * unit), fill=(122, 118, 114))
    elif place == "moon":
        for x, y in ((1, 1), (7, 4), (12, 2)):
            top = horizon_px + y * unit
            draw.ellipse((x * unit, top, (x + 2.4) * unit, top + unit), fill=(130, 130, 140))


@lru_cache(maxsize=8)
def _snowflakes(size_px: int) -> npt.NDArray[np.bool_]:
    flakes = np.random.default_rng(7).random((SIZE_PX // 2, SIZE_PX // 2)) < 0.06
    return np.array(Image.fromarray(flakes).resize((size_px, size_px), Image.Resampling.NEAREST))


def _stylise(image: Pixels, style: str) -> Pixels:
    pixels = image.astype(np.float32)
    grey = pixels @ np.array((0.299, 0.587, 0.114), dtype=np.float32)
    if style == "night":
        styled = pixels * (0.42, 0.42, 0.6) + (2.0, 4.0, 24.0)
    elif style == "sepia":
        styled = 0.62 * grey[..., None] * (1.08, 0.86, 0.62) + 0.38 * pixels + (14.0, 8.0, 0.0)
    elif style == "snow":
        styled = pixels * 0.78 + 52.0
        styled[_snowflakes(len(image))] = 255.0
    else:  # a sketch: dark strokes where the brightness jumps, over pale colour
        edges = np.abs(np.diff(grey, axis=0, prepend=grey[:1])) + np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))
        styled = 255.0 - 0.45 * (255.0 - pixels) - np.minimum(edges * 2.0, 170.0)[..., None]
    return np.clip(styled, 0, 255).astype(np.uint8)
