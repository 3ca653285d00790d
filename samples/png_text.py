"""Text entries of PNG files: stored next to the pixels, so that an image can say what made it.

`samples.images` leaves text out when it decodes an image; this module reads and writes it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from samples.image_limits import DECODE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from PIL.Image import Image


def read_png_texts(data: bytes) -> dict[str, str]:
    """The text entries of a PNG file, or empty for other bytes and for more text than Pillow takes."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()  # entries may follow the pixels
            texts: dict[str, str] = getattr(image, "text", {})
    except DECODE_ERRORS:
        return {}
    return texts


def write_png(image: Image, file: BinaryIO, texts: Mapping[str, str]) -> None:
    """Write the image as PNG with text entries."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    image.save(file, "PNG", pnginfo=info)
