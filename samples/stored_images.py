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
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = tuple(PILLOW_FORMATS.values())
MAX_MADE_PIXELS = 6 * MAX_PIXELS
"""Limit for images that a stage of this run made: `normalise_image` may have scaled an image of MAX_PIXELS up."""


def rgb_image(encoded: bytes, max_pixels: int = MAX_PIXELS, *, at_least: tuple[int, int] | None = None) -> Image:
    """The image in mode RGB. Raises ImageProblem for bytes that are no image in a format of datasets.

    With `at_least` a JPEG is decoded at the smallest of its scales (whole, 1/2, 1/4, 1/8) that keeps this width and
    height: several times faster for a large one, with pixels that differ a little from those of scaling it afterwards.
    """
    file = open_image(encoded, max_pixels=max_pixels, formats=FORMATS)
    if at_least is not None:
        file.image.draft(None, at_least)
    image = file.load()
    return image if image.mode == "RGB" else image.convert("RGB")


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


def distinct_images(encoded: Sequence[bytes], reduced_px: int | None = None) -> tuple[list[Image], list[int]]:
    """(the images, each once, in mode RGB; the place of each row's image among them). See `made_image`."""
    place_of = {one: place for place, one in enumerate(dict.fromkeys(encoded))}
    return [made_image(one, reduced_px) for one in place_of], [place_of[one] for one in encoded]


def first_encoded(column: pa.ChunkedArray) -> list[bytes]:
    """The first image of each row of `source_images`, encoded."""
    return [images[0].as_py() for images in column]


def first_images(column: pa.ChunkedArray, reduced_px: int | None = None) -> list[Image]:
    """The first image of each row of `source_images`, in mode RGB. See `made_image`."""
    return [made_image(encoded, reduced_px) for encoded in first_encoded(column)]


def rgb_images(column: pa.ChunkedArray, reduced_px: int | None = None) -> list[Image]:
    """The image of each row of `target_image`, in mode RGB. See `made_image`."""
    return [made_image(image.as_py(), reduced_px) for image in column]


def made_image(encoded: bytes, reduced_px: int | None = None) -> Image:
    """An image that a stage of this run made, in mode RGB.

    With `reduced_px` a JPEG is decoded at the smallest of its scales that keeps its shorter side at least so long.
    """
    at_least = None if reduced_px is None else (reduced_px, reduced_px)
    return rgb_image(encoded, MAX_MADE_PIXELS, at_least=at_least)


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
