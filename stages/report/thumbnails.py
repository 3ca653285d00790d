"""Small images for the report."""

from __future__ import annotations

import io

from samples.images import open_image
from samples.stored_images import MAX_MADE_PIXELS

JPEG_QUALITY = 82
REDUCING_GAP = 2.0
"""A large JPEG is decoded at reduced scale, as long as twice the pixels wanted are left each way."""


def thumbnail(encoded: bytes, longest_px: int = 192) -> bytes:
    """The image as a JPEG whose longer side is at most `longest_px`; a smaller image keeps its size.

    Transparent parts come out white and EXIF orientation is applied. Raises ImageProblem for bytes that are no image.
    """
    from PIL import Image

    image = open_image(encoded, max_pixels=MAX_MADE_PIXELS).decode(longest_px).image
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()
