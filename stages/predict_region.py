"""Predict the region that an edit may change with a trained region head, which reads the instruction itself.

It takes the place of `choose_object`, `ground_object`, `segment_box` and `build_region`.

Reads   source_images (list<binary>), instruction (string)
Writes  region_mask_png (binary), core_mask_png (binary), region_frac (float32, 0 to 1), is_whole_image (bool)
Drops   rows whose instruction names nothing on the image (empty_region), unless `when_empty` is whole
Source  Beyond Editing Pairs (arXiv 2505.19352): the predicted region, here in the columns of `build_region` (Zhao et
        al. 2024, UltraEdit, stage III). Chosen: the margin, and from which share on a region is the whole image.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.protocols import InstructionSegmenter
from pipeline.stage import MapStage, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON
from samples.stored_images import first_images, mask_png
from stages.regions.by_instruction import masks_of
from stages.regions.rows import with_rows
from stages.regions.shapes import with_margin

if TYPE_CHECKING:
    import pyarrow as pa

    from models.protocols import Bools
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class EmptyRegion(StrEnum):
    """Why a row has no region."""

    EMPTY_REGION = "empty_region"


class PredictRegion(MapStage):
    """The region of an edit: where the head's probability is above `threshold`, and a margin around that core."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "instruction")
    writes: ClassVar = ("region_mask_png", "core_mask_png", "region_frac", "is_whole_image")
    rejects: ClassVar = EmptyRegion

    model: Annotated[str, Serves(InstructionSegmenter)]
    """A trained region head: `path:FOLDER`."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Probability above which a pixel is in the core; None: that of the head's training."""
    margin_frac: float = Field(default=0.0, ge=0, le=1)
    """Margin around the core, as a share of the image's shorter side."""
    whole_frac: float = Field(default=0.9, gt=0, le=1)
    """Share of the image from which a region is all of it."""
    when_empty: Literal["reject", "whole"] = "reject"
    """What becomes of a row with an empty core: it is rejected, or its region is all of the image."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        segmenter = ctx.load(InstructionSegmenter, self.model)

        def predict(batch: pa.Table) -> pa.Table:
            images, texts = first_images(batch["source_images"]), batch["instruction"].to_pylist()
            rows = [self._row(core_HW) for core_HW in masks_of(segmenter, images, texts, self.threshold)]
            return with_rows(batch, rows, self.writes)

        return predict

    def _row(self, core_HW: Bools) -> dict[str, Any]:
        """The columns of one row, and those of a reject."""
        is_empty = not core_HW.any()
        if is_empty and self.when_empty == "reject":
            detail = "nothing on the image is likely enough"
            return {REJECT_REASON: EmptyRegion.EMPTY_REGION.value, REJECT_DETAIL: detail}
        region_HW = with_margin(core_HW, self.margin_frac * min(core_HW.shape))
        is_whole = is_empty or float(region_HW.mean()) >= self.whole_frac
        if is_whole:
            core_HW = region_HW = np.ones(core_HW.shape, np.bool_)
        return {
            "region_mask_png": mask_png(region_HW), "core_mask_png": mask_png(core_HW),
            "region_frac": float(region_HW.mean()), "is_whole_image": is_whole,
        }  # fmt: skip
