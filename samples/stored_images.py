"""Images and masks as a dataset stores them: decoded, encoded, and cut to the size of a training.

They are upright and in sRGB already (`normalise_image` made them so): nothing here turns an image or converts colours.
Images of unknown origin are decoded by `samples.images`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from samples.image_limits import MAX_PIXELS
from samples.images import open_image
from samples.members import PILLOW_FORMATS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = tuple(PILLOW_FORMATS.values())
MAX_MADE_PIXELS = 6 * MAX_PIXELS
"""Limit for images that a stage of this run made: `normalise_image` may have scaled an image of MAX_PIXELS up."""


def rgb_image(encoded: bytes, max_pixels: int = MAX_PIXELS) -> Image:
    """The image in mode RGB. Raises ImageProblem for bytes that are no image in a format of datasets."""
    return open_image(encoded, max_pixels=max_pixels, formats=FORMATS).load().convert("RGB")


def image_size(encoded: bytes) -> tuple[int, int]:
    """(width, height), from the header alone. Raises ImageProblem for bytes that are no image of a dataset."""
    return open_image(encoded, max_pixels=MAX_PIXELS, formats=FORMATS).size


def mask_image(encoded: bytes, max_pixels: int = MAX_PIXELS) -> Image:
    """The mask in mode L, 255 inside. Raises ImageProblem for bytes that are no image in a format of datasets."""
    return open_image(encoded, max_pixels=max_pixels, formats=FORMATS).load().convert("L")


def encoded_image(image: Image, suffix: str, quality: int) -> bytes:
    """The image in the format of this suffix. `quality` counts for JPEG and WebP; PNG is lossless."""
    image.info = {}  # or some encoders copy comments, colour profiles and transparency of the input
    buffer = io.BytesIO()
    image.save(buffer, PILLOW_FORMATS[suffix], **({} if suffix == "png" else {"quality": quality}))
    return buffer.getvalue()


def mask_png(mask_HW: NDArray[np.bool_]) -> bytes:
    """The mask as an 8-bit grey PNG, 255 where it is true."""
    import numpy as np
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(mask_HW.astype(np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()


def mask_array(encoded: bytes) -> NDArray[np.bool_]:
    """A mask that a stage of this run made, (H, W), true where it is lighter than mid-grey."""
    import numpy as np

    inside_HW: NDArray[np.bool_] = np.asarray(mask_image(encoded, MAX_MADE_PIXELS)) > 127
    return inside_HW


def first_images(column: pa.ChunkedArray) -> list[Image]:
    """The first image of each row of `source_images`, in mode RGB."""
    return [rgb_image(images[0].as_py(), MAX_MADE_PIXELS) for images in column]


def rgb_images(column: pa.ChunkedArray) -> list[Image]:
    """The image of each row of `target_image`, in mode RGB."""
    return [rgb_image(image.as_py(), MAX_MADE_PIXELS) for image in column]


def centre_square(image: Image, side_px: int) -> Image:
    """The centre square of an image or mask, scaled to `side_px`."""
    return centre_cut(image, (side_px, side_px))


def centre_cut(image: Image, size: tuple[int, int]) -> Image:
    """The largest centre part of that shape, scaled to (width, height): images bicubic, masks by the nearest pixel.

    A mask is an image in mode L. Every stage and trainer cuts images here, so that an image, its mask and its latent
    show the same part.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    resampling = Pillow.Resampling.NEAREST if image.mode == "L" else Pillow.Resampling.BICUBIC
    return ImageOps.fit(image, size, resampling)
