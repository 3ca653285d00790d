"""Bring the target image and the mask that came with the input to the size and encoding of the source image.

Reads   target_raw (binary), mask_raw (binary), source_format (string), width_px (int32), height_px (int32),
        original_width_px (int32), original_height_px (int32)
Writes  target_image (binary), target_format (string), region_mask_png (binary), core_mask_png (binary),
        region_frac (float32), is_whole_image (bool)
Drops   edits whose target or mask cannot be decoded, or has another shape than the source image; edits without target,
        and with a mask that has no transparency where that marks the region
Source  UltraEdit's trainer: an edit without mask may change the whole image. MagicBrush's masks are the source image
        with the region transparent, as in DALL-E 2.
"""

from __future__ import annotations

import warnings
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.stage import MapStage, Needs
from samples.columns import REJECT_DETAIL, REJECT_REASON, column
from samples.image_limits import MAX_PIXELS, ImageProblem
from samples.images import open_image
from samples.stored_images import encoded_image, mask_png

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from samples.images import ImageFile

# H W pixels

WHITE_FROM = 128
"""Grey level from which a pixel of a mask is inside: published masks are JPEG files, too."""


class TargetReject(StrEnum):
    """Why a target image or its mask is of no use; the detail says which of the two."""

    NO_TARGET = "no_target"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    PIXEL_BOMB = "pixel_bomb"
    TOO_COMPLEX = "too_complex"
    ANIMATED = "animated"
    NO_TRANSPARENCY = "no_transparency"
    SHAPE_DIFFERS = "shape_differs"


class _Unusable(Exception):
    def __init__(self, reason: TargetReject, detail: str) -> None:
        self.reason, self.detail = reason, detail


class NormaliseTarget(MapStage):
    """The target image and the mask, cut and scaled as `normalise_image` did with the source image."""

    version: ClassVar[int] = 1
    reads: ClassVar = (
        "target_raw", "mask_raw", "source_format", "width_px", "height_px", "original_width_px", "original_height_px",
    )  # fmt: skip
    writes: ClassVar = (
        "target_image", "target_format", "region_mask_png", "core_mask_png", "region_frac", "is_whole_image",
    )  # fmt: skip
    rejects: ClassVar = TargetReject
    needs: ClassVar = Needs(packages=("PIL",))

    fit: Literal["keep_ratio", "center_crop", "pad"] = "keep_ratio"
    """The same as that of `normalise_image`."""
    max_shape_difference: float = Field(default=0.02, ge=0, lt=1)
    """Greatest difference of the ratio of width to height from the source's, as a share of it."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Images with more are rejected, as in `normalise_image`."""
    mask_region: Literal["white", "transparent"] = "white"
    """The pixels of a mask that are inside: white (UltraEdit), or transparent (MagicBrush)."""
    quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG and WebP; PNG is lossless."""

    def open(self, ctx: Context) -> BatchFn:
        """A function that normalises the target and the mask of each row."""

        def normalise(batch: pa.Table) -> pa.Table:
            with warnings.catch_warnings(action="ignore"):  # damaged files make Pillow warn, a line an image
                rows = [self._row(row) for row in batch.select(self.reads).to_pylist()]
            num_black = sum(row.get("region_frac") == 0 for row in rows)
            if num_black:
                ctx.notes["masks without a white pixel"] += num_black
            for name in self.writes:
                batch = batch.append_column(name, pa.array([r.get(name) for r in rows], column(name).type))
            for name in (REJECT_REASON, REJECT_DETAIL):
                batch = batch.append_column(name, pa.array([r.get(name) for r in rows], pa.string()))
            return batch

        return normalise

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["target_raw"] is None:
            return {REJECT_REASON: TargetReject.NO_TARGET.value, REJECT_DETAIL: "the input has no target image"}
        try:
            target = self._fitted("target", row["target_raw"], row)
            inside_HW = np.ones((row["height_px"], row["width_px"]), dtype=bool)
            if row["mask_raw"] is not None:
                inside_HW = np.asarray(self._fitted("mask", row["mask_raw"], row)) >= WHITE_FROM
        except _Unusable as reject:
            return {REJECT_REASON: reject.reason.value, REJECT_DETAIL: reject.detail}
        png = mask_png(inside_HW)
        return {
            "target_image": encoded_image(target, row["source_format"], self.quality),
            "target_format": row["source_format"],
            "region_mask_png": png,
            "core_mask_png": png,
            "region_frac": float(inside_HW.mean()),
            "is_whole_image": bool(inside_HW.all()),
        }

    def _fitted(self, role: str, raw: bytes, row: dict[str, Any]) -> Image.Image:
        """The image upright and of the source's final size: in RGB, a mask in grey. Raises _Unusable."""
        from PIL import Image, ImageOps

        size = row["width_px"], row["height_px"]
        try:
            file = open_image(raw, max_pixels=self.max_pixels)
            if file.num_frames > 1:
                raise _Unusable(TargetReject.ANIMATED, f"{role}: {file.num_frames} frames")
            image, its_size = self._mask(file, min(size)) if role == "mask" else file.decode(min(size))[:2]
        except ImageProblem as problem:
            raise _Unusable(TargetReject(problem.reason.value), f"{role}: {problem.detail}") from None
        except MemoryError as error:  # a header that asks for too much
            raise _Unusable(TargetReject.UNDECODABLE, f"{role}: {error}") from None
        original = row["original_width_px"], row["original_height_px"]
        ratio = its_size[0] / its_size[1] / (original[0] / original[1])
        if max(ratio, 1 / ratio) > 1 + self.max_shape_difference:
            detail = f"{role}: {_sides(its_size)}, the source image {_sides(original)}"
            raise _Unusable(TargetReject.SHAPE_DIFFERS, detail)
        is_mask = role == "mask"
        resampling = Image.Resampling.NEAREST if is_mask else Image.Resampling.BICUBIC
        if self.fit == "center_crop":
            return ImageOps.fit(image, size, resampling)
        if self.fit == "pad":
            return ImageOps.pad(image, size, resampling, color="black" if is_mask else "white")
        return image if image.size == size else image.resize(size, resampling)

    def _mask(self, file: ImageFile, side: int) -> tuple[Image.Image, tuple[int, int]]:
        """(the mask in grey, white inside, its size). Raises _Unusable."""
        if self.mask_region == "white":
            decoded = file.decode(side)
            return decoded.image.convert("L"), decoded.size
        clear = file.transparency()
        if clear is None:
            detail = "mask: has no transparency; mask_region is 'transparent'"
            raise _Unusable(TargetReject.NO_TRANSPARENCY, detail)
        return clear, clear.size


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px"
