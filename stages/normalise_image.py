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
import warnings
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

DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, ArithmeticError, LookupError,
                 TypeError, AttributeError, AssertionError, RuntimeError)  # fmt: skip
"""What Pillow's decoders raise on damaged files."""

ANIMATION_FORMATS = frozenset({"AVIF", "FLI", "GIF", "PNG", "WEBP"})
"""Formats whose further frames are an animation; in the others they are pages, previews (phone JPEGs) or layers."""

UPRIGHT = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
           7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
"""EXIF orientation -> Pillow's name of what makes the image upright."""
ORIENTATION_TAG = 0x0112

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


class _Unusable(Exception):
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

        Image.init()
        formats = sorted(set(Image.OPEN) - REFUSED_FORMATS)

        def normalise(batch: pa.Table) -> pa.Table:
            # `max_pixels` is checked against the header; this is for images inside of images (ICO, ICNS, MPO)
            Image.MAX_IMAGE_PIXELS = self.max_pixels
            with warnings.catch_warnings(action="ignore"):  # damaged files make Pillow warn, a line an image
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

        image, original_format, original = self._decode(raw, formats)
        image = self._resize(image, original)
        image.info = {}  # or some encoders copy comments, colour profiles and transparency of the input
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

    def _decode(self, raw: bytes, formats: list[str]) -> tuple[Image.Image, str, tuple[int, int]]:
        """The upright RGB image, its format, its size upright and at full scale. Raises `_Unusable`."""
        from PIL import Image, UnidentifiedImageError

        try:
            image: Image.Image = Image.open(io.BytesIO(raw), formats=formats)
        except UnidentifiedImageError:
            raise _Unusable(ImageReject.UNDECODABLE, "no image format that is read") from None
        except Image.DecompressionBombError as error:
            raise _Unusable(ImageReject.PIXEL_BOMB, str(error)) from None
        except (*DECODE_ERRORS, MemoryError) as error:
            raise _Unusable(ImageReject.UNDECODABLE, str(error)) from None
        original_format = image.format or ""
        size = image.size
        self._check_size(size)
        try:
            self._check_frames(image)
            if original_format in ("JPEG", "MPO"):
                scale = self.shorter_side_px * DRAFT_OVERSAMPLING / min(size)
                image.draft(None, (max(1, int(size[0] * scale)), max(1, int(size[1] * scale))))
                image.load()
            else:
                image.load()
                size = image.size  # an icon's header may lie, a TIFF turns itself
                self._check_size(size)
            turn = UPRIGHT.get(_orientation(image))
            rgb = to_rgb(image)
            rgb = rgb.transpose(Image.Transpose[turn]) if turn else rgb
        except Image.DecompressionBombError as error:
            raise _Unusable(ImageReject.PIXEL_BOMB, str(error)) from None
        except DECODE_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            raise _Unusable(ImageReject.TRUNCATED if cut else ImageReject.UNDECODABLE, str(error)) from None
        is_sideways = turn in ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
        return rgb, original_format, size[::-1] if is_sideways else size

    def _check_size(self, size: tuple[int, int]) -> None:
        width, height = size
        text = f"{width} x {height} px"
        if width * height > self.max_pixels:
            raise _Unusable(ImageReject.PIXEL_BOMB, f"{text}, more than {self.max_pixels} pixels")
        if min(width, height) < self.min_side_px:
            raise _Unusable(ImageReject.TOO_SMALL, f"{text}, less than {self.min_side_px} px")
        if max(width, height) / min(width, height) > self.max_aspect_ratio:
            raise _Unusable(ImageReject.ASPECT_RATIO, f"{text}, more than {self.max_aspect_ratio:g} to 1")

    def _check_frames(self, image: Image.Image) -> None:
        animates = self.animated == "reject" and image.format in ANIMATION_FORMATS
        if animates and getattr(image, "is_animated", False):
            raise _Unusable(ImageReject.ANIMATED, f"{getattr(image, 'n_frames', 0)} frames")

    def _resize(self, image: Image.Image, original: tuple[int, int]) -> Image.Image:
        """The image at its final size, which follows from its original size (a JPEG comes decoded smaller)."""
        from PIL import Image, ImageOps

        side = self.shorter_side_px
        if not self.upscale:
            side = min(side, max(original) if self.fit == "pad" else min(original))
        if self.fit == "center_crop":
            return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
        if self.fit == "pad":
            return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color="white")
        scale = side / min(original)
        size = (max(1, round(original[0] * scale)), max(1, round(original[1] * scale)))
        return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or the EXIF data is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except DECODE_ERRORS:
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits a channel: alpha over white, 16 bits to their upper 8, floats clipped to 0-255."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if image.mode == "I":
        deep = image.getextrema()[1] > 255  # type: ignore[operator]
        return (image.point(lambda value: value / 256) if deep else image).convert("L").convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
