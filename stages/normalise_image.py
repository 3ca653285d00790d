"""Decode every image Pillow can, upright, RGB, at one scale, in one encoding.

Reads   source_raw (binary)
Writes  source_images (list<binary>), source_format (string), source_dhash (uint64), width_px (int32),
        height_px (int32), original_width_px (int32), original_height_px (int32), original_format (string)
Drops   images that cannot be decoded, are cut off, too small, too long and thin, too many pixels, animated
        (when `animated = "reject"`)
Source  img2dataset's resize modes; dHash as in the ImageHash library.
"""

from __future__ import annotations

import io
import struct
import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from pipeline.schema import REJECT_DETAIL, REJECT_REASON, column
from pipeline.stage import Context, MapStage, Needs

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.stage import BatchFn

REFUSED_FORMATS = frozenset({"EPS", "WMF", "GRIB", "BUFR", "HDF5", "FPX", "MIC", "MPEG"})
"""Formats that Pillow hands to another program or cannot decode by itself."""

DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, OverflowError, IndexError,
                 KeyError, TypeError, AttributeError, NotImplementedError, RuntimeError)  # fmt: skip
"""What Pillow's decoders raise on damaged files."""

PILLOW_FORMAT = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
DRAFT_OVERSAMPLING = 2
"""A JPEG is decoded at reduced scale only where at least so many pixels are left for each pixel wanted."""


class ImageReject(StrEnum):
    """Why an image is of no use."""

    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    ASPECT_RATIO = "aspect_ratio"
    PIXEL_BOMB = "pixel_bomb"
    ANIMATED = "animated"


class _Unusable(Exception):  # noqa: N818  never leaves this module
    def __init__(self, reason: ImageReject, detail: str) -> None:
        self.reason, self.detail = reason, detail


class NormaliseImage(MapStage):
    """The image as RGB with its shorter side at `shorter_side_px`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_raw",)
    writes: ClassVar = (
        "source_images", "source_format", "source_dhash", "width_px", "height_px", "original_width_px",
        "original_height_px", "original_format",
    )  # fmt: skip
    rejects: ClassVar = ImageReject
    needs: ClassVar = Needs(packages=("PIL", "imagehash"))

    shorter_side_px: int = Field(default=512, ge=8)
    fit: Literal["keep_ratio", "center_crop", "pad"] = "keep_ratio"
    """keep_ratio: only scale; center_crop: cut to a square; pad: white bars to a square."""
    upscale: bool = True
    """False leaves images that are smaller than `shorter_side_px` at their size."""
    min_side_px: int = Field(default=64, ge=1)
    max_aspect_ratio: float = Field(default=3.0, ge=1)
    max_pixels: int = Field(default=200_000_000, ge=1)
    animated: Literal["first", "reject"] = "reject"
    format: Literal["jpg", "png", "webp"] = "jpg"
    quality: int = Field(default=95, ge=1, le=100)

    def open(self, ctx: Context) -> BatchFn:
        """A function that normalises each image of a batch."""
        del ctx
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None  # `max_pixels` is checked against the header, before any pixel is decoded
        Image.init()
        formats = sorted(set(Image.OPEN) - REFUSED_FORMATS)

        def normalise(batch: pa.Table) -> pa.Table:
            rows = [self._row(raw, formats) for raw in batch["source_raw"].to_pylist()]
            for name in self.writes:
                batch = batch.append_column(name, pa.array([r.get(name) for r in rows], column(name).type))
            for name in (REJECT_REASON, REJECT_DETAIL):
                batch = batch.append_column(name, pa.array([r.get(name) for r in rows], pa.string()))
            return batch

        return normalise

    def _row(self, raw: bytes, formats: list[str]) -> dict[str, Any]:
        try:
            return self._normalise(raw, formats)
        except _Unusable as reject:
            return {REJECT_REASON: reject.reason.value, REJECT_DETAIL: reject.detail}

    def _normalise(self, raw: bytes, formats: list[str]) -> dict[str, Any]:
        import imagehash

        image, original_format = self._decode(raw, formats)
        original = image.info["original_size"]
        image = self._resize(image)
        buffer = io.BytesIO()
        options: dict[str, Any] = {} if self.format == "png" else {"quality": self.quality}
        image.save(buffer, PILLOW_FORMAT[self.format], **options)
        return {
            "source_images": [buffer.getvalue()],
            "source_format": self.format,
            "source_dhash": int(str(imagehash.dhash(image)), 16),
            "width_px": image.width,
            "height_px": image.height,
            "original_width_px": original[0],
            "original_height_px": original[1],
            "original_format": original_format,
        }

    def _decode(self, raw: bytes, formats: list[str]) -> tuple[Image.Image, str]:
        """The upright RGB image, its original size in `info`, and its format. Raises `_Unusable`."""
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            image: Image.Image = Image.open(io.BytesIO(raw), formats=formats)
        except UnidentifiedImageError:
            raise _Unusable(ImageReject.UNDECODABLE, "no image format that is read") from None
        except (*DECODE_ERRORS, MemoryError) as error:
            raise _Unusable(ImageReject.UNDECODABLE, str(error)) from None
        original_format = image.format or ""
        size = image.size
        self._check_header(image)
        try:
            if original_format == "JPEG":
                wanted = self.shorter_side_px * DRAFT_OVERSAMPLING
                scale = wanted / min(size)
                image.draft(None, (max(1, int(size[0] * scale)), max(1, int(size[1] * scale))))
            image.load()
            upright = ImageOps.exif_transpose(image)
            rgb = to_rgb(upright)
        except DECODE_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            raise _Unusable(ImageReject.TRUNCATED if cut else ImageReject.UNDECODABLE, str(error)) from None
        turned = (upright.width > upright.height) != (image.width > image.height) and image.width != image.height
        rgb.info["original_size"] = size[::-1] if turned else size
        return rgb, original_format

    def _check_header(self, image: Image.Image) -> None:
        width, height = image.size
        text = f"{width} x {height} px"
        if width * height > self.max_pixels:
            raise _Unusable(ImageReject.PIXEL_BOMB, f"{text}, more than {self.max_pixels} pixels")
        if min(width, height) < self.min_side_px:
            raise _Unusable(ImageReject.TOO_SMALL, f"{text}, less than {self.min_side_px} px")
        if max(width, height) / min(width, height) > self.max_aspect_ratio:
            raise _Unusable(ImageReject.ASPECT_RATIO, f"{text}, more than {self.max_aspect_ratio:g} to 1")
        if self.animated == "reject" and getattr(image, "is_animated", False):
            raise _Unusable(ImageReject.ANIMATED, f"{getattr(image, 'n_frames', 0)} frames")

    def _resize(self, image: Image.Image) -> Image.Image:
        from PIL import Image, ImageOps

        side = self.shorter_side_px
        if not self.upscale:
            side = min(side, max(image.size) if self.fit == "pad" else min(image.size))
        if self.fit == "center_crop":
            return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
        if self.fit == "pad":
            return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color="white")
        scale = side / min(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits a channel: alpha over white, 16 bits to their upper 8, floats clipped to 0-255."""
    from PIL import Image

    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if image.mode == "I":
        deep = image.getextrema()[1] > 255  # type: ignore[operator]  mode I has one band: two numbers
        return (image.point(lambda value: value / 256) if deep else image).convert("L").convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
