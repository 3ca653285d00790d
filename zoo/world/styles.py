"""The styles of the miniature world: changes of the whole picture, in numbers."""

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
LUMA = (0.299, 0.587, 0.114)


def stylise(image: Pixels, style: str) -> Pixels:
    """The RGB picture in `style`. A sketch looks at neighbours, so a change spreads by one pixel down and right."""
    pixels = image.astype(np.float32)
    grey = pixels @ np.array(LUMA, dtype=np.float32)
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
    result: Pixels = np.clip(styled, 0, 255).astype(np.uint8)
    return result


@lru_cache(maxsize=8)
def _snowflakes(size_px: int) -> npt.NDArray[np.bool_]:
    flakes = np.random.default_rng(7).random((FLAKES_PER_SIDE, FLAKES_PER_SIDE)) < FLAKES_FRAC
    return np.array(Image.fromarray(flakes).resize((size_px, size_px), Image.Resampling.NEAREST))
