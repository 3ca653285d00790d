"""Score how likely each image is marked with a watermark.

Reads   source_images (list<binary>), and target_image (binary) where there is one
Writes  source_watermark_score (float32, 0 to 1), target_watermark_score (float32, 0 to 1; no value without a target)
Drops   nothing: `select` owns thresholds, so moving one never reruns the model
Source  docs/filters.md names the checkpoints that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from models.protocols import ImageClassifier
from stages.image_filters.both_images import columns_of
from stages.image_filters.label_stage import LabelStage
from stages.image_filters.labels import label_scores

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn

MEASURE = "watermark_score"


class ScoreWatermark(LabelStage):
    """The probability that an image has a watermark, by the labels that say so."""

    version: ClassVar[int] = 1
    writes: ClassVar = columns_of(MEASURE)

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once, and check the labels against it."""
        classifier = ctx.load(ImageClassifier, self.model)
        return label_scores(classifier, MEASURE, self.labels, self.other_labels, self.model)
