"""Scenes of the miniature world: which things are where, sampled from a seed, and the image of it.

Sizes and positions are fractions of the image's side, so that any size renders; 64 px is the zoo's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from zoo.world.backgrounds import background
from zoo.world.sprites import sprite
from zoo.world.styles import stylise
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
    """One object: its word, its colour, and its place (centre of its lower edge)."""

    noun: str
    colour: str
    size: str
    size_frac: float
    x_frac: float
    bottom_frac: float
    is_flipped: bool = False

    @property
    def position(self) -> Position:
        """The third of the image that it is in, near enough for words."""
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
        """The same scene with the thing at `index` replaced, still in order from left to right."""
        things = [*self.things[:index], thing, *self.things[index + 1 :]]
        return replace(self, things=tuple(sorted(things, key=lambda one: one.x_frac)))


def sample_scene(rng: random.Random, *, num_things: int | None = None, style: str | None = "any") -> Scene:
    """A scene drawn from `rng`, in any style or none, or in the one that is given (None: none).

    Things of one scene differ in noun, so that a phrase names one of them.
    """
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
    """Scene number `index` of the world `seed`, always the same, whatever was drawn before."""
    return sample_scene(random.Random(f"{seed}/{index}"))


def render(scene: Scene, size_px: int = SIZE_PX) -> Pixels:
    """The image as RGB, (size_px, size_px, 3), uint8."""
    image = background(scene.place, scene.horizon_frac, size_px).copy()
    for thing in scene.things:
        (y0, x0), pixels = _placed(thing, size_px)
        window = image[y0 : y0 + pixels.shape[0], x0 : x0 + pixels.shape[1]]
        alpha = pixels[..., 3:].astype(np.uint16)
        window[:] = ((window * (255 - alpha) + pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return image if scene.style is None else stylise(image, scene.style)


def thing_masks(scene: Scene, size_px: int = SIZE_PX) -> npt.NDArray[np.bool_]:
    """Which pixels show each thing: (number of things, size_px, size_px). No pixel belongs to two."""
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
    """The upper left corner (y, x) of the thing's sprite, and the sprite, moved inwards where it would be cut."""
    side_px = max(4, round(thing.size_frac * size_px))
    x0 = min(max(round(thing.x_frac * size_px - side_px / 2), 0), size_px - side_px)
    y0 = min(max(round(thing.bottom_frac * size_px) - side_px, 0), size_px - side_px)
    return (y0, x0), sprite(thing.noun, thing.colour, side_px, is_flipped=thing.is_flipped)
