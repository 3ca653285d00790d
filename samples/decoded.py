"""Encoded images to Pillow's and back, as stages that run models need them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image


def rgb_image(encoded: bytes) -> Image:
    """The decoded image in mode RGB. Raises `OSError` (Pillow's) for bytes that are no image."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as opened:
        return opened.convert("RGB")


def first_images(column: pa.ChunkedArray) -> list[Image]:
    """The first image of each row of `source_images`, decoded."""
    return [rgb_image(images[0].as_py()) for images in column]
