"""Small pictures for the report."""

from __future__ import annotations

JPEG_QUALITY = 82


def thumbnail(image: bytes, longest_px: int = 192) -> bytes:
    """The image as a JPEG whose longer side is at most `longest_px`; a smaller image keeps its size.

    Transparent parts come out white and EXIF orientation is applied. Raises `OSError` or `ValueError` (Pillow's
    errors) for bytes that are no image.
    """
    from io import BytesIO

    from PIL import Image, ImageOps

    with Image.open(BytesIO(image)) as opened:
        opened.draft(
            "RGB", (2 * longest_px, 2 * longest_px)
        )  # a large JPEG is decoded small; nothing for other formats
        opened.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        upright = ImageOps.exif_transpose(opened)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        backdrop = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(backdrop, upright)
    out = BytesIO()
    upright.convert("RGB").save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()
