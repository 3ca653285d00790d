"""Find the boxes of the things that an edit changes on the source image.

Reads   source_images (list<binary>), edit_objects (list<string>)
Writes  object_boxes (list<list<float32>>, pixels), object_box_scores (list<float32>, 0 to 1),
        object_box_phrases (list<string>)
Drops   rows that name things of which no box is found (no_box); a row that names none has no boxes and stays
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), stage III: Grounding DINO with a box threshold of 0.3, and every
        box it finds. Its text threshold, 0.25, has no part here: it chooses the words of a box's label, while a
        Detector answers with one of the phrases it was asked. Suppressing boxes that overlap is an addition.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import Detector
from pipeline.stage import MapStage, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON, column
from stages.regions.boxes import find_boxes, shared_images

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class NoBox(StrEnum):
    """Why a row has no boxes that it should have."""

    NO_BOX = "no_box"


class GroundObject(MapStage):
    """Boxes of `edit_objects`, surest first, all images of a batch together."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "edit_objects")
    writes: ClassVar = ("object_boxes", "object_box_scores", "object_box_phrases")
    rejects: ClassVar = NoBox

    model: Annotated[str, Serves(Detector)]
    """A Detector: `zoo:grounding-dino`, `hf:IDEA-Research/grounding-dino-base@<commit>`."""
    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Least score of a box."""
    max_iou: float = Field(default=0.8, gt=0, le=1)
    """Of two boxes that overlap by more than this IoU the surer one stays; 1 keeps all."""
    max_boxes: int = Field(default=100, ge=1)
    """Most boxes of an image, the surest; it bounds the memory of their masks."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        detector = ctx.load(Detector, self.model)

        def ground(batch: pa.Table) -> pa.Table:
            images = shared_images(images[0].as_py() for images in batch["source_images"])
            objects = [named or [] for named in batch["edit_objects"].to_pylist()]
            found = find_boxes(
                detector, images, objects,
                threshold=self.threshold, max_iou=self.max_iou, max_boxes=self.max_boxes,
            )  # fmt: skip
            made = {
                "object_boxes": [boxes.edges for boxes in found],
                "object_box_scores": [boxes.scores for boxes in found],
                "object_box_phrases": [boxes.phrases for boxes in found],
            }
            for name, values in made.items():
                batch = batch.append_column(name, pa.array(values, column(name).type))
            is_lost = [bool(named) and not boxes.edges for named, boxes in zip(objects, found, strict=True)]
            reasons = [NoBox.NO_BOX.value if lost else None for lost in is_lost]
            details = [", ".join(named)[:200] if lost else None for lost, named in zip(is_lost, objects, strict=True)]
            return batch.append_column(REJECT_REASON, pa.array(reasons, pa.string())).append_column(
                REJECT_DETAIL, pa.array(details, pa.string())
            )

        return ground
