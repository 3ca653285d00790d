"""Convert pixels of any mode to RGB with 8 bits a channel, in sRGB where a colour profile says how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samples.colour import LAB, conversion_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from samples.colour import Conversion

BAND_PIXELS = 4_000_000
"""Colours are converted so many pixels at a time, so that at most two copies of the image are there."""


def to_rgb(image: Image) -> Image:
    """RGB with 8 bits a channel: alpha over white, 16 bits to their upper 8, floats clipped to 0-255."""
    return to_srgb(image, None)[0]


def to_srgb(image: Image, profile: bytes | None) -> tuple[Image, bool]:
    """(The image as `to_rgb` makes it, in sRGB by its profile, and True where the profile could be read)."""
    kind = _colours_of(image)
    conversion = conversion_of(profile, kind) if profile else None
    is_readable = not profile or conversion is not None
    if conversion is None and kind == "LAB":
        conversion = conversion_of(LAB, kind)
    if conversion is not None and conversion.transform is None and conversion.mode == kind:
        conversion = None
    if image.mode == "RGB" and conversion is None and not image.has_transparency_data:
        return image, is_readable
    is_deep = image.mode == "I" and image.getextrema()[1] > 255  # type: ignore[operator]

    def convert(band: Image) -> Image:
        return _convert(_shallow(band, is_deep=is_deep), conversion)

    return _in_bands(image, convert), is_readable


def _in_bands(image: Image, convert: Callable[[Image], Image]) -> Image:
    """The image with `convert` applied to bands of it, in RGB."""
    from PIL import Image as Pillow

    width, height = image.size
    rows = max(1, BAND_PIXELS // max(1, width))
    if rows >= height:
        return convert(image)
    made = Pillow.new("RGB", image.size)
    for top in range(0, height, rows):
        made.paste(convert(image.crop((0, top, width, min(height, top + rows)))), (0, top))
    return made


def _shallow(image: Image, *, is_deep: bool) -> Image:
    """The image with 8 bits a channel."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode == "I":
        return (image.point(lambda value: value / 256) if is_deep else image).convert("L")
    return image


def _convert(image: Image, conversion: Conversion | None) -> Image:
    from PIL import Image as Pillow

    alpha = image.convert("RGBA") if image.has_transparency_data else None
    if conversion is not None:
        image = conversion.apply(image if image.mode == conversion.mode else image.convert(conversion.mode))
        if alpha is not None:
            image.putalpha(alpha.getchannel("A"))
            alpha = image
    if alpha is not None:
        image = Pillow.alpha_composite(Pillow.new("RGBA", alpha.size, "white"), alpha)
    return image if image.mode == "RGB" else image.convert("RGB")


def _colours_of(image: Image) -> str:
    """Which colours the image's numbers are: RGB, L, CMYK or LAB."""
    if image.mode in ("CMYK", "LAB"):
        return image.mode
    return "L" if image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16") else "RGB"
