"""Score how likely each image is marked with a watermark.

Reads   source_images (list<binary>), and target_image (binary) where there is one
Writes  source_watermark_score (float32, 0 to 1), target_watermark_score (float32, 0 to 1; no value without a target)
Drops   nothing: `select` owns thresholds, so moving one never reruns the model
Source  docs/filters.md names the checkpoints that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from models.protocols import ImageClassifier
from pipeline.stage import MapStage, Serves
from stages.image_filters.both_images import READS, READS_IF_PRESENT, columns_of
from stages.image_filters.labels import Labels, check_apart, label_scores

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn

MEASURE = "watermark_score"


class ScoreWatermark(MapStage):
    """The sum of the probabilities of `labels`."""

    version: ClassVar[int] = 1
    reads: ClassVar = READS
    reads_if_present: ClassVar = READS_IF_PRESENT
    writes: ClassVar = columns_of(MEASURE)

    model: Annotated[str, Serves(ImageClassifier, only_scores=True)]
    """An ImageClassifier: `path:FOLDER`, or an encoder of images and texts that takes
    any labels, such as `open_clip:ViT-L-14/openai`."""
    labels: Labels = Field(min_length=1)
    """Labels of the model that count: `["Watermark"]`. Their probabilities add up to the score."""
    other_labels: Labels = ()
    """What an image is otherwise: needed for a model that takes any labels, which chooses between all that it is
    given."""

    @model_validator(mode="after")
    def _are_apart(self) -> ScoreWatermark:
        check_apart(self.labels, self.other_labels)
        return self

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once, and check the labels against it."""
        classifier = ctx.load(ImageClassifier, self.model)
        return label_scores(classifier, MEASURE, self.labels, self.other_labels, self.model)
