"""Score how good each image looks.

Reads   source_images (list<binary>), and target_image (binary) where there is one
Writes  source_aesthetic_score (float32), target_aesthetic_score (float32; no value without a target); both in the unit
        of the rater, higher is better
Drops   nothing: `select` owns thresholds, so moving one never reruns the model
Source  Schuhmann et al. 2022, LAION-5B: LAION-Aesthetics, a head over CLIP's embedding; Wang et al. 2023, CLIP-IQA, for
        an encoder that chooses between a good and a bad photo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from models.protocols import ImageRater
from pipeline.stage import MapStage, Serves
from stages.image_filters.both_images import READS, READS_IF_PRESENT, columns_of, measure_both, rounded

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.image_filters.both_images import Measured

MEASURE = "aesthetic_score"


class ScoreAesthetics(MapStage):
    """One number an image."""

    version: ClassVar[int] = 1
    reads: ClassVar = READS
    reads_if_present: ClassVar = READS_IF_PRESENT
    writes: ClassVar = columns_of(MEASURE)

    model: Annotated[str, Serves(ImageRater, only_scores=True)]
    """An ImageRater: an aesthetic head (`path:FOLDER`), or a classifier or an encoder of images and texts with
    `label_values`."""
    label_values: dict[str, float] = Field(default_factory=dict)
    """Value of each label, for a model that gives probabilities of labels: the score is their mean, weighted by the
    probabilities. `{ "Good photo." = 1.0, "Bad photo." = 0.0 }` is CLIP-IQA's score. None for a head."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        rater = ctx.load(ImageRater, self.model, label_values=tuple(self.label_values.items()))

        def score(images: Any) -> Measured:
            return {MEASURE: rounded(rater.rate_images(images))}

        return measure_both(rater, (MEASURE,), score)
