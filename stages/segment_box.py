"""Mask the thing in each box on the source image.

Reads   source_images (list<binary>), object_boxes (list<list<float32>>)
Writes  object_masks_png (list<binary>)
Drops   nothing: `build_region` owns the gates on area and contours
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), stage III: Segment Anything asked with the boxes of the
        detector. Released code looks at one image at a time; here a batch is one call, and an image that several rows
        share is looked at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa

from models.protocols import BoxSegmenter
from pipeline.stage import MapStage, Serves
from samples.columns import column
from samples.stored_images import mask_png
from stages.regions.boxes import segment_boxes, shared_images

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class SegmentBox(MapStage):
    """One mask a box, of the image's size."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "object_boxes")
    writes: ClassVar = ("object_masks_png",)

    model: Annotated[str, Serves(BoxSegmenter)]
    """A BoxSegmenter: `zoo:sam`, `hf:facebook/sam-vit-huge@<commit>`."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        segmenter = ctx.load(BoxSegmenter, self.model)

        def segment(batch: pa.Table) -> pa.Table:
            images = shared_images(images[0].as_py() for images in batch["source_images"])
            boxes = [edges or [] for edges in batch["object_boxes"].to_pylist()]
            masks = segment_boxes(segmenter, images, boxes)
            pngs = [[mask_png(mask_HW) for mask_HW in of_image] for of_image in masks]
            return batch.append_column("object_masks_png", pa.array(pngs, column("object_masks_png").type))

        return segment
