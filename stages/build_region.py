"""Build the region that an edit may change from the boxes and masks of the things it is about.

Reads   edit_objects (list<string>), object_boxes (list<list<float32>>), object_masks_png (list<binary>),
        width_px (int32), height_px (int32)
Writes  region_mask_png (binary), core_mask_png (binary), box_mask_png (binary), hull_mask_png (binary),
        fine_mask_png (binary), region_frac (float32, 0 to 1), region_num_contours (int32), is_whole_image (bool)
Drops   regions with too few contours (too_few_contours) or too many (too_many_contours), that are too small
        (region_too_small) or too large (region_too_large)
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), stage III, and its released code: areas between 1 % and 90 %, at
        most 500 contours; below 150 the fine mask is the core and the hulls the region, from there on the hulls and the
        boxes. Released code drops whatever has fewer than 4 contours, and so a thing that is one clean part: here the
        least number is 1. Its strong denoising of masks is replaced by leaving out specks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from pipeline.stage import MapStage, Needs
from samples.columns import REJECT_DETAIL, REJECT_REASON
from samples.stored_images import mask_array, mask_png
from stages.regions.rows import with_rows
from stages.regions.shapes import filled_boxes, hulls, num_outer_contours, union, with_margin, without_specks

if TYPE_CHECKING:
    import pyarrow as pa

    from models.protocols import Bools
    from pipeline.context import Context
    from pipeline.stage import BatchFn

Row = dict[str, Any]
MASKS = ("region_mask_png", "core_mask_png", "box_mask_png", "hull_mask_png", "fine_mask_png")


class NoRegion(StrEnum):
    """Why a region is not used."""

    TOO_FEW_CONTOURS = "too_few_contours"
    TOO_MANY_CONTOURS = "too_many_contours"
    REGION_TOO_SMALL = "region_too_small"
    REGION_TOO_LARGE = "region_too_large"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Region:
    """The masks of one image, (H, W) each. `region` holds `core`; what it holds besides is the soft ring."""

    region: Bools
    core: Bools
    box: Bools
    hull: Bools
    fine: Bools
    num_contours: int


class BuildRegion(MapStage):
    """The region of an edit, and the shapes that it was built from. An edit that names no thing has the whole image."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("edit_objects", "object_boxes", "object_masks_png", "width_px", "height_px")
    writes: ClassVar = (*MASKS, "region_frac", "region_num_contours", "is_whole_image")
    rejects: ClassVar = NoRegion
    needs: ClassVar = Needs(packages=("PIL", "scipy"))

    region: Literal["by_contours", "fine", "hull", "box"] = "by_contours"
    """Shape of the region: the masks of the things, the convex hulls of their contours, or their boxes. `by_contours`
    takes hulls below `many_contours`, boxes from there on."""
    core: Literal["by_contours", "fine", "hull"] = "by_contours"
    """Shape of the part of the region that is made anew in full. `by_contours` takes masks below `many_contours`,
    hulls from there on."""
    many_contours: int = Field(default=150, ge=1)
    """Number of contours from which `by_contours` takes coarser shapes."""
    margin_frac: float = Field(default=0.0, ge=0, le=1)
    """Margin around the region, as a share of the image's shorter side."""
    min_speck_frac: float = Field(default=0.0002, ge=0, lt=1)
    """Connected parts of a mask that are a smaller share of the image are left out."""
    min_contours: int = Field(default=1, ge=1)
    """Least number of outer contours of the things."""
    max_contours: int = Field(default=500, ge=1)
    """Most outer contours of the things."""
    min_frac: float = Field(default=0.01, ge=0, lt=1)
    """Least share of the image that a region is."""
    max_frac: float = Field(default=0.9, gt=0, le=1)
    """Greatest share of the image that a region is."""

    @model_validator(mode="after")
    def _can_pass(self) -> BuildRegion:
        if self.min_frac > self.max_frac:
            raise ValueError(f"min_frac {self.min_frac} is more than max_frac {self.max_frac}")
        if self.min_contours > self.max_contours:
            raise ValueError(f"min_contours {self.min_contours} is more than max_contours {self.max_contours}")
        return self

    def open(self, ctx: Context) -> BatchFn:  # noqa: ARG002  loads nothing
        """Nothing is loaded."""

        def build(batch: pa.Table) -> pa.Table:
            rows = [self._row(row) for row in batch.select(list(self.reads)).to_pylist()]
            return with_rows(batch, rows, self.writes)

        return build

    def _row(self, row: Row) -> Row:
        size_HW = row["height_px"], row["width_px"]
        if not row["edit_objects"]:
            white = mask_png(np.ones(size_HW, np.bool_))
            whole: Row = {"region_mask_png": white, "core_mask_png": white, "region_frac": 1.0}
            return {**whole, "region_num_contours": 0, "is_whole_image": True}
        made = self.make([mask_array(png) for png in row["object_masks_png"]], row["object_boxes"], size_HW)
        frac = float(made.region.mean())
        shapes = (made.region, made.core, made.box, made.hull, made.fine)
        pngs: Row = {name: mask_png(shape_HW) for name, shape_HW in zip(MASKS, shapes, strict=True)}
        found = {"region_frac": frac, "region_num_contours": made.num_contours, "is_whole_image": False}
        return {**pngs, **found, **self._refusal(frac, made.num_contours)}

    def make(self, masks: list[Bools], boxes: list[list[float]], size_HW: tuple[int, int]) -> Region:
        """The region of the things with these masks and boxes."""
        fine = without_specks(union(masks, *size_HW), self.min_speck_frac * size_HW[0] * size_HW[1])
        shapes = {"fine": fine, "hull": hulls(fine), "box": filled_boxes(boxes, *size_HW)}
        count = num_outer_contours(fine)
        coarse = count >= self.many_contours
        core = shapes[("hull" if coarse else "fine") if self.core == "by_contours" else self.core]
        region = shapes[("box" if coarse else "hull") if self.region == "by_contours" else self.region]
        return Region(
            region=with_margin(region | core, self.margin_frac * min(size_HW)), core=core,
            box=shapes["box"], hull=shapes["hull"], fine=fine, num_contours=count,
        )  # fmt: skip

    def _refusal(self, frac: float, count: int) -> Row:
        """The reject's columns, or none."""
        if count < self.min_contours:
            return _reject(NoRegion.TOO_FEW_CONTOURS, f"{count} contours, fewer than {self.min_contours}")
        if count > self.max_contours:
            return _reject(NoRegion.TOO_MANY_CONTOURS, f"{count} contours, more than {self.max_contours}")
        if frac < self.min_frac:
            return _reject(NoRegion.REGION_TOO_SMALL, f"{frac:.4f} of the image, less than {self.min_frac}")
        if frac > self.max_frac:
            return _reject(NoRegion.REGION_TOO_LARGE, f"{frac:.4f} of the image, more than {self.max_frac}")
        return {}


def _reject(reason: NoRegion, detail: str) -> Row:
    return {REJECT_REASON: reason.value, REJECT_DETAIL: detail}
