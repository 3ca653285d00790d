"""Images as texts, for servers that take an image inside a JSON request."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

JPEG_QUALITY = 90


def data_url(image: Image, max_side_px: int) -> str:
    """An RGB image as a `data:` URL of a JPEG, its longer side at most `max_side_px`."""
    small = image.copy()
    small.thumbnail((max_side_px, max_side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
