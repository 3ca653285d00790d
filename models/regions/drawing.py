"""Pictures of regions over their images: a map of probabilities, and an outline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Bools, Floats

# H W pixels

COLD, HOT = (30, 40, 110), (255, 220, 40)
"""Colours of the probabilities 0 and 1."""
OPACITY = 0.6
LINE = (255, 40, 160)
PIXELS_PER_LINE = 160
"""Shorter side of an image for each pixel of the outline's width."""


def heat_map(image: Image, prob_HW: Floats) -> Image:
    """The image in grey under a map of probabilities (H, W), from dark blue at 0 to yellow at 1."""
    from PIL import Image as Images

    grey_HW1 = np.asarray(image.convert("L"), np.float32)[..., None]
    colour_HW3 = np.array(COLD) + prob_HW[..., None] * (np.array(HOT) - np.array(COLD))
    return Images.fromarray(((1 - OPACITY) * grey_HW1 + OPACITY * colour_HW3).round().astype(np.uint8))


def contour(image: Image, mask_HW: Bools) -> Image:
    """The image with a line along the inner edge of the mask (H, W). An empty mask has none."""
    from PIL import Image as Images
    from PIL import ImageFilter

    width = max(1, round(min(image.size) / PIXELS_PER_LINE))
    mask = Images.fromarray(mask_HW.astype(np.uint8) * 255)
    framed = Images.new("L", (mask.width + 2 * width, mask.height + 2 * width))
    framed.paste(mask, (width, width))  # so that a mask at the border has an edge there
    inner = framed.filter(ImageFilter.MinFilter(2 * width + 1))
    inner_HW = np.asarray(inner.crop((width, width, width + mask.width, width + mask.height))) > 0
    pixels_HW3 = np.asarray(image.convert("RGB")).copy()
    pixels_HW3[mask_HW & ~inner_HW] = LINE
    return Images.fromarray(pixels_HW3)


def side_by_side(images: Sequence[Image]) -> Image:
    """The images in a row, all of the height of the first."""
    from PIL import Image as Images

    row = Images.new("RGB", (sum(one.width for one in images), images[0].height))
    left = 0
    for one in images:
        row.paste(one, (left, 0))
        left += one.width
    return row
