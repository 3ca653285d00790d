"""The styles of the miniature world: changes of the whole image, in numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

FLAKES_PER_SIDE = 32
FLAKES_FRAC = 0.06
LUMA = (299, 587, 114)
"""Of red, green and blue in the brightness, in thousandths."""
NIGHT, NIGHT_LIGHT = np.array(((420, 420, 600), (2_000, 4_000, 24_000)), np.int32)
SEPIA, SEPIA_LIGHT = np.array(((6_696, 5_332, 3_844), (14_000, 8_000, 0)), np.int32)
"""Of the brightness in ten-thousandths, and what is added to each channel."""


def stylise(image: Pixels, style: str) -> Pixels:
    """The RGB image in `style`. A sketch looks at neighbours, so a change spreads by one pixel down and right.

    All of it is integers, in thousandths of a level: the last bit of a float matrix product depends on the CPU.
    """
    pixels = image.astype(np.int32)
    if style == "night":
        styled = pixels * NIGHT + NIGHT_LIGHT
    elif style == "sepia":
        styled = _brightness(pixels)[..., None] * SEPIA // 10_000 + pixels * 380 + SEPIA_LIGHT
    elif style == "snow":
        styled = pixels * 780 + 52_000
        styled[_snowflakes(len(image))] = 255_000
    else:  # a sketch: dark strokes where the brightness jumps, over pale colour
        grey = _brightness(pixels)
        edges = np.abs(np.diff(grey, axis=0, prepend=grey[:1])) + np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))
        styled = 255_000 - 450 * (255 - pixels) - np.minimum(edges * 2, 170_000)[..., None]
    result: Pixels = (np.clip(styled, 0, 255_000) // 1_000).astype(np.uint8)
    return result


def _brightness(pixels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """In thousandths of a level, (H, W). The channels are added one by one, as a matrix product is BLAS."""
    red, green, blue = LUMA
    grey: npt.NDArray[np.int32] = red * pixels[..., 0] + green * pixels[..., 1] + blue * pixels[..., 2]
    return grey


@lru_cache(maxsize=8)
def _snowflakes(size_px: int) -> npt.NDArray[np.bool_]:
    flakes = np.random.default_rng(7).random((FLAKES_PER_SIDE, FLAKES_PER_SIDE)) < FLAKES_FRAC
    return np.array(Image.fromarray(flakes).resize((size_px, size_px), Image.Resampling.NEAREST))
