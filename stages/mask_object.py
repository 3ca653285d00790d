"""Mask what the edit changes by boxes: the source phrase on the source, the target phrase on the target.

Reads   source_images (list<binary>), target_image (binary), source_phrase (string), target_phrase (string)
Writes  source_mask_png (binary), target_mask_png (binary), source_mask_frac (float32, 0 to 1),
        target_mask_frac (float32, 0 to 1)
Drops   nothing: where no box is found the mask is empty, and `select` owns the gate on areas
Source  the columns of `mask_phrase` (Bodur et al. 2023, iEdit, section 3.4), made as UltraEdit grounds its regions
        (Zhao et al. 2024, stage III): a detector's boxes of the phrase, and the mask of the thing in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import BoxSegmenter, Detector
from pipeline.stage import MapStage, Needs, Serves, TwoPart
from samples.stored_images import first_encoded, mask_png
from stages.regions.boxes import find_boxes, segment_boxes, shared_images
from stages.regions.shapes import union

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class MaskObject(MapStage):
    """Masks of the size of their image, inside where any thing is that the phrase names."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "target_image", "source_phrase", "target_phrase")
    writes: ClassVar = ("source_mask_png", "target_mask_png", "source_mask_frac", "target_mask_frac")
    needs: ClassVar = Needs(gpu=0.5, memory_bytes=2 << 30)

    detector: Annotated[str, Serves(Detector)]
    """A Detector: `zoo:grounding-dino`, `hf:IDEA-Research/grounding-dino-base@<commit>`."""
    segmenter: Annotated[str, Serves(BoxSegmenter)]
    """A BoxSegmenter: `zoo:sam`, `hf:facebook/sam-vit-huge@<commit>`."""
    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Least score of a box."""
    max_iou: float = Field(default=0.8, gt=0, le=1)
    """Of two boxes that overlap by more than this IoU the surer one stays; 1 keeps all."""
    max_boxes: int = Field(default=50, ge=1)
    """Most boxes of an image, the surest; it bounds the memory of their masks."""

    def open(self, ctx: Context) -> BatchFn:
        """Load both models once."""
        detector, segmenter = ctx.load(Detector, self.detector), ctx.load(BoxSegmenter, self.segmenter)

        def get_ready(batch: pa.Table) -> list[Image]:
            return shared_images(first_encoded(batch["source_images"]) + batch["target_image"].to_pylist())

        def mask(batch: pa.Table, images: list[Image]) -> pa.Table:
            phrases = batch["source_phrase"].to_pylist() + batch["target_phrase"].to_pylist()
            found = find_boxes(
                detector, images, [[phrase] if phrase else [] for phrase in phrases],
                threshold=self.threshold, max_iou=self.max_iou, max_boxes=self.max_boxes,
            )  # fmt: skip
            shown = segment_boxes(segmenter, images, [boxes.edges for boxes in found])
            masks = [union(of_image, image.height, image.width) for of_image, image in zip(shown, images, strict=True)]
            sides = {"source": masks[: batch.num_rows], "target": masks[batch.num_rows :]}
            for side, side_masks in sides.items():
                pngs = [mask_png(mask_HW) for mask_HW in side_masks]
                shares = [float(mask_HW.mean()) for mask_HW in side_masks]
                batch = batch.append_column(f"{side}_mask_png", pa.array(pngs, pa.binary()))
                batch = batch.append_column(f"{side}_mask_frac", pa.array(shares, pa.float32()))
            return batch

        return TwoPart(prepare=get_ready, finish=mask)
