"""Mask what the edit changes with a trained region head: the instruction on the source, its reverse on the target.

Reads   source_images (list<binary>), instruction (string), and target_image (binary) and reverse_instruction (string)
        where they are there
Writes  source_mask_png (binary), target_mask_png (binary), source_mask_frac (float32, 0 to 1),
        target_mask_frac (float32, 0 to 1); the target's have no value without a target image
Drops   nothing: an empty mask has a share of 0, and `select` owns the gate on areas
Source  Beyond Editing Pairs (arXiv 2505.19352): the predicted region, here in the columns of `mask_phrase` (Bodur et
        al. 2023, iEdit, section 3.4). Chosen: the reverse instruction for the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import InstructionSegmenter
from pipeline.stage import MapStage, Serves, TwoPart
from samples.columns import column
from samples.stored_images import first_images, mask_png, rgb_images
from stages.regions.by_instruction import masks_of
from stages.regions.shapes import with_margin

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.context import Context
    from pipeline.stage import BatchFn

TARGET = ("target_image", "reverse_instruction")


class MaskInstruction(MapStage):
    """Masks of the size of their image, inside where the head's probability is above `threshold`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "instruction")
    reads_if_present: ClassVar = TARGET
    writes: ClassVar = ("source_mask_png", "target_mask_png", "source_mask_frac", "target_mask_frac")

    model: Annotated[str, Serves(InstructionSegmenter)]
    """A trained region head: `path:FOLDER`."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Probability above which a pixel is inside; None: that of the head's training."""
    margin_frac: float = Field(default=0.0, ge=0, le=1)
    """Margin around the mask, as a share of the image's shorter side."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        segmenter = ctx.load(InstructionSegmenter, self.model)

        def get_ready(batch: pa.Table) -> list[Image]:
            targets = rgb_images(batch["target_image"]) if set(TARGET) <= set(batch.column_names) else []
            return first_images(batch["source_images"]) + targets

        def mask(batch: pa.Table, images: list[Image]) -> pa.Table:
            texts = batch["instruction"].to_pylist()
            if set(TARGET) <= set(batch.column_names):
                texts += batch["reverse_instruction"].to_pylist()
            masks = masks_of(segmenter, images, texts, self.threshold)
            masks = [with_margin(mask_HW, self.margin_frac * min(mask_HW.shape)) for mask_HW in masks]
            sides = {"source": masks[: batch.num_rows], "target": masks[batch.num_rows :]}
            for side, side_masks in sides.items():
                none = [None] * (batch.num_rows - len(side_masks))
                pngs: list[Any] = [*map(mask_png, side_masks), *none]
                shares = [*(float(mask_HW.mean()) for mask_HW in side_masks), *none]
                for name, values in ((f"{side}_mask_png", pngs), (f"{side}_mask_frac", shares)):
                    batch = batch.append_column(name, pa.array(values, column(name).type))
            return batch

        return TwoPart(prepare=get_ready, finish=mask)
