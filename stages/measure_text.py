"""Measure the share of each image that text covers.

Reads   source_images (list<binary>), and target_image (binary) where there is one
Writes  source_text_frac (float32, 0 to 1), target_text_frac (float32, 0 to 1; no value without a target)
Drops   nothing: `select` owns thresholds, so moving one never reruns the model
Source  chosen: the union of the boxes that a detector gives when it is asked for text. It reads no words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from models.protocols import Detector
from pipeline.stage import MapStage, Serves
from stages.image_filters.areas import found_areas
from stages.image_filters.both_images import READS, READS_IF_PRESENT, columns_of, measure_both
from stages.image_filters.labels import Labels, check_known

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.image_filters.both_images import Measured

MEASURE = "text_frac"


class MeasureText(MapStage):
    """Boxes of `phrases` on each image, however many overlap: their union counts."""

    version: ClassVar[int] = 1
    reads: ClassVar = READS
    reads_if_present: ClassVar = READS_IF_PRESENT
    writes: ClassVar = columns_of(MEASURE)

    model: Annotated[str, Serves(Detector, only_scores=True)]
    """A Detector: `hf:IDEA-Research/grounding-dino-tiny@<commit>`, `zoo:grounding-dino` …"""
    phrases: Labels = Field(default=("text",), min_length=1)
    """What is looked for. A detector with labels of its own needs some of these."""
    threshold: float = Field(default=0.3, gt=0, le=1)
    """Least score of a box that is text. Chosen for Grounding DINO."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once, and check the phrases against its labels, if it has any."""
        detector = ctx.load(Detector, self.model)
        check_known(detector, self.phrases, self.model)

        def measure(images: Any) -> Measured:
            areas = found_areas(detector, images, self.phrases, threshold=self.threshold, max_iou=1.0)
            return {MEASURE: [frac for _, frac in areas]}

        return measure_both(detector, (MEASURE,), measure)
