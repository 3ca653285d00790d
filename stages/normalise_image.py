"""Decode each image, upright, RGB, in sRGB, at one scale, in one encoding.

Reads   source_raw (binary)
Writes  source_images (list<binary>), source_format (string), source_dhash (uint64), width_px (int32),
        height_px (int32), original_width_px (int32), original_height_px (int32), original_format (string)
Drops   images that cannot be decoded, are cut off, too small, too long and thin, too many pixels, animated
        (when `animated = "reject"`), or in more scans, chunks or strips than an image has
Source  img2dataset's resize modes; dHash as in the ImageHash library; colour profiles by LittleCMS.
"""

from __future__ import annotations

import warnings
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from pipeline.stage import MapStage, Needs
from samples.columns import REJECT_DETAIL, REJECT_REASON, column
from samples.image_limits import MAX_PIXELS, ImageProblem, Problem
from samples.images import DRAFT_OVERSAMPLING, open_image
from samples.perceptual_hashes import difference_hash
from samples.stored_images import centre_square, encoded_image

if TYPE_CHECKING:
    from collections import Counter

    from PIL import Image

    from pipeline.context import Context
    from pipeline.stage import BatchFn

UNREADABLE_PROFILE = "images whose colour profile cannot be read"


class ImageReject(StrEnum):
    """Why an image is of no use."""

    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    ASPECT_RATIO = "aspect_ratio"
    PIXEL_BOMB = "pixel_bomb"
    ANIMATED = "animated"
    TOO_COMPLEX = "too_complex"


class _Unusable(Exception):
    def __init__(self, reason: ImageReject, detail: str) -> None:
        self.reason, self.detail = reason, detail


class NormaliseImage(MapStage):
    """The image as RGB with its shorter side at `shorter_side_px`."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("source_raw",)
    writes: ClassVar = (
        "source_images", "source_format", "source_dhash", "width_px", "height_px", "original_width_px",
        "original_height_px", "original_format",
    )  # fmt: skip
    rejects: ClassVar = ImageReject
    needs: ClassVar = Needs(packages=("PIL", "imagehash"))

    shorter_side_px: int = Field(default=512, ge=8)
    """Side that the shorter side is scaled to."""
    fit: Literal["keep_ratio", "center_crop", "pad"] = "keep_ratio"
    """keep_ratio: only scale; center_crop: cut to a square; pad: white bars to a square."""
    upscale: bool = True
    """False leaves images that are smaller than `shorter_side_px` at their size."""
    min_side_px: int = Field(default=64, ge=1)
    """An image with a shorter side below this is rejected."""
    max_aspect_ratio: float = Field(default=3.0, ge=1)
    """Greatest ratio of long side to short side."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Formats that take more memory to decode may have less of it: TIFF 4/5, WebP 2/3, AVIF 1/2, JPEG 2000 2/5."""
    animated: Literal["first", "reject"] = "reject"
    """Whether an animation gives its first frame or is rejected."""
    format: Literal["jpg", "png", "webp"] = "jpg"
    """Encoding of the normalised image."""
    quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG and WebP; PNG is lossless."""
    reduced_jpegs: bool = False
    """True decodes a JPEG at 1/2, 1/4 or 1/8 of its size wherever that leaves `shorter_side_px`; false only where it
    leaves twice as much, which keeps finer detail. Faster for images of more than twice `shorter_side_px`."""

    def open(self, ctx: Context) -> BatchFn:
        """A function that normalises each image of a batch."""

        def normalise(batch: pa.Table) -> pa.Table:
            with warnings.catch_warnings(action="ignore"):  # damaged files make Pillow warn, a line an image
                rows = [self._row(raw, ctx.notes) for raw in batch["source_raw"].to_pylist()]
            for name in self.writes:
                batch = batch.append_column(name, pa.array([r.get(name) for r in rows], column(name).type))
            for name in (REJECT_REASON, REJECT_DETAIL):
                batch = batch.append_column(name, pa.array([r.get(name) for r in rows], pa.string()))
            return batch

        return normalise

    def _row(self, raw: bytes, notes: Counter[str]) -> dict[str, Any]:
        try:
            return self._normalise(raw, notes)
        except ImageProblem as problem:
            return {REJECT_REASON: ImageReject(problem.reason).value, REJECT_DETAIL: problem.detail}
        except _Unusable as reject:
            return {REJECT_REASON: reject.reason.value, REJECT_DETAIL: reject.detail}

    def _normalise(self, raw: bytes, notes: Counter[str]) -> dict[str, Any]:
        image, original_format, original = self._decode(raw, notes)
        image = self._resize(image, original)
        return {
            "source_images": [encoded_image(image, self.format, self.quality)],
            "source_format": self.format,
            "source_dhash": difference_hash(image),
            "width_px": image.width,
            "height_px": image.height,
            "original_width_px": original[0],
            "original_height_px": original[1],
            "original_format": original_format,
        }

    def _decode(self, raw: bytes, notes: Counter[str]) -> tuple[Image.Image, str, tuple[int, int]]:
        """The upright RGB image, its format, its size upright and at full scale."""
        try:
            file = open_image(raw, max_pixels=self.max_pixels)
        except MemoryError as error:  # a header that asks for too much
            raise ImageProblem(Problem.UNDECODABLE, str(error)) from None
        self._check_size(file.size)
        if self.animated == "reject" and file.num_frames > 1:
            raise _Unusable(ImageReject.ANIMATED, f"{file.num_frames} frames")
        decoded = file.decode(self.shorter_side_px, oversampling=1 if self.reduced_jpegs else DRAFT_OVERSAMPLING)
        self._check_size(decoded.size)  # an icon's header may be wrong
        notes[UNREADABLE_PROFILE] += decoded.is_profile_unreadable
        return decoded.image, file.format, decoded.size

    def _check_size(self, size: tuple[int, int]) -> None:
        width, height = size
        text = f"{width} x {height} px"
        if min(width, height) < self.min_side_px:
            raise _Unusable(ImageReject.TOO_SMALL, f"{text}, less than {self.min_side_px} px")
        if max(width, height) / min(width, height) > self.max_aspect_ratio:
            raise _Unusable(ImageReject.ASPECT_RATIO, f"{text}, more than {self.max_aspect_ratio:g} to 1")

    def _resize(self, image: Image.Image, original: tuple[int, int]) -> Image.Image:
        """The image at its final size, which follows from its original size (a JPEG comes decoded smaller)."""
        from PIL import Image, ImageOps

        side = self.shorter_side_px
        if not self.upscale:
            side = min(side, max(original) if self.fit == "pad" else min(original))
        if self.fit == "center_crop":
            return centre_square(image, side)
        if self.fit == "pad":
            return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color="white")
        scale = side / min(original)
        size = (max(1, round(original[0] * scale)), max(1, round(original[1] * scale)))
        return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)
