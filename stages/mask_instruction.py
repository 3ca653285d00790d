"""Mask what the edit changes with a trained region head, which reads the instruction itself.

With `fills = "masks"` it takes the place of `mask_phrase`: the instruction is read on the source, the reverse
instruction on the target. With `fills = "region"` it takes that of `build_region`, for stages and trainings that read a
region of the source.

Reads   source_images (list<binary>), instruction (string); for masks target_image (binary) and reverse_instruction
        (string) where they are there
Writes  for masks: source_mask_png (binary), target_mask_png (binary), source_mask_frac (float32, 0 to 1),
        target_mask_frac (float32, 0 to 1); for a region: region_mask_png (binary), core_mask_png (binary),
        region_frac (float32, 0 to 1), is_whole_image (bool); the others have no value
Drops   for a region: rows whose instruction names nothing on the image (empty_region), unless `when_empty` is whole;
        for masks nothing: an empty mask has a share of 0, and `select` owns the gate on areas
Source  Beyond Editing Pairs (arXiv 2505.19352): the predicted region, here as the mask of other methods. Chosen: the
        margin, whole images, and the reverse instruction for the target.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.protocols import InstructionSegmenter
from pipeline.stage import MapStage, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON, column
from samples.stored_images import first_images, mask_png, rgb_images
from stages.regions.shapes import with_margin

if TYPE_CHECKING:
    from PIL.Image import Image

    from models.protocols import Bools
    from pipeline.context import Context
    from pipeline.stage import BatchFn

MASKS = ("source_mask_png", "target_mask_png", "source_mask_frac", "target_mask_frac")
REGION = ("region_mask_png", "core_mask_png", "region_frac", "is_whole_image")


class NoRegion(StrEnum):
    """Why a row has no region."""

    EMPTY_REGION = "empty_region"


class MaskInstruction(MapStage):
    """Masks of the size of their image, inside where the head's probability is above `threshold`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "instruction")
    reads_if_present: ClassVar = ("target_image", "reverse_instruction")
    writes: ClassVar = (*MASKS, *REGION)
    rejects: ClassVar = NoRegion

    model: Annotated[str, Serves(InstructionSegmenter)]
    """A trained region head: `path:FOLDER`."""
    fills: Literal["masks", "region"] = "masks"
    """The columns that are filled: those of `mask_phrase`, or those of `build_region` that trainings read."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability above which a pixel is inside."""
    margin_frac: float = Field(default=0.0, ge=0, le=1)
    """Margin around the mask, as a share of the image's shorter side; of a region the core has none."""
    whole_frac: float = Field(default=0.9, gt=0, le=1)
    """Share of the image from which a region is all of it."""
    when_empty: Literal["reject", "whole"] = "reject"
    """What becomes of a row with an empty region: it is rejected, or its region is all of the image."""

    def writes_empty(self) -> tuple[str, ...]:
        """The columns that are not filled."""
        return REGION if self.fills == "masks" else MASKS

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        segmenter = ctx.load(InstructionSegmenter, self.model)

        def mask(batch: pa.Table) -> pa.Table:
            images, texts = first_images(batch["source_images"]), batch["instruction"].to_pylist()
            if self.fills == "region":
                masks = self._masks(segmenter, images, texts)
                return _with(batch, [self._region(mask_HW) for mask_HW in masks])
            has_target = {"target_image", "reverse_instruction"} <= set(batch.column_names)
            targets = rgb_images(batch["target_image"]) if has_target else []
            texts += batch["reverse_instruction"].to_pylist() if has_target else []
            masks = self._masks(segmenter, [*images, *targets], texts)
            masks = [with_margin(mask_HW, self.margin_frac * min(mask_HW.shape)) for mask_HW in masks]
            rows = [_side("source", mask_HW) for mask_HW in masks[: len(images)]]
            for row, mask_HW in zip(rows, masks[len(images) :], strict=False):  # none without targets
                row.update(_side("target", mask_HW))
            return _with(batch, rows)

        return mask

    def _masks(self, segmenter: InstructionSegmenter, images: list[Image], texts: list[str | None]) -> list[Bools]:
        """Where each instruction changes its image; nowhere without an instruction."""
        found = segmenter.segment_instructions(images, [text or "" for text in texts])
        return [
            (prob_HW > self.threshold) & bool((text or "").strip()) for prob_HW, text in zip(found, texts, strict=True)
        ]

    def _region(self, core_HW: Bools) -> dict[str, Any]:
        """The region's columns, and those of a reject."""
        if not core_HW.any() and self.when_empty == "reject":
            reason = {REJECT_REASON: NoRegion.EMPTY_REGION.value, REJECT_DETAIL: f"nothing above {self.threshold}"}
            return {"region_frac": 0.0, "is_whole_image": False, **reason}
        region_HW = with_margin(core_HW, self.margin_frac * min(core_HW.shape))
        is_whole = not core_HW.any() or float(region_HW.mean()) >= self.whole_frac
        if is_whole:
            core_HW = region_HW = np.ones(core_HW.shape, np.bool_)
        return {
            "region_mask_png": mask_png(region_HW), "core_mask_png": mask_png(core_HW),
            "region_frac": float(region_HW.mean()), "is_whole_image": is_whole,
        }  # fmt: skip


def _side(side: str, mask_HW: Bools) -> dict[str, Any]:
    """The columns of one mask."""
    return {f"{side}_mask_png": mask_png(mask_HW), f"{side}_mask_frac": float(mask_HW.mean())}


def _with(batch: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    types = {name: column(name).type for name in (*MASKS, *REGION)}
    for name, dtype in {**types, REJECT_REASON: pa.string(), REJECT_DETAIL: pa.string()}.items():
        batch = batch.append_column(name, pa.array([row.get(name) for row in rows], dtype))
    return batch
