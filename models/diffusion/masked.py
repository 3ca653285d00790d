"""Masks of images to be repainted: their check, their picture, and the join of new and old pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Bools

# H W pixels of the image


def check_mask_sizes(images: Sequence[Image], masks: Sequence[Bools]) -> None:
    """Raise ValueError for a mask of another size than its image."""
    for row, (image, mask_HW) in enumerate(zip(images, masks, strict=True)):
        if mask_HW.shape != (image.height, image.width):
            raise ValueError(
                f"mask {row} has shape {mask_HW.shape}, its image is {image.width} x {image.height} pixels; "
                "pass a mask of (height, width)"
            )


def as_mask_image(mask_HW: Bools) -> Image:
    """White (255) where the mask is true."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(mask_HW.astype(np.uint8) * 255)


def composed(image: Image, mask: Image, repainted: Image) -> Image:
    """The repainted image, resized to that of the input, within the mask, and the input elsewhere."""
    from PIL import Image

    return Image.composite(repainted.resize(image.size, Image.Resampling.LANCZOS), image, mask)
