"""The settings of stages that score an image by labels of a classifier."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from models.protocols import ImageClassifier
from pipeline.stage import MapStage, Serves
from stages.image_filters.both_images import READS, READS_IF_PRESENT
from stages.image_filters.labels import Labels, check_apart


class LabelStage(MapStage):
    """Scores both images of a row by the sum of the probabilities of `labels`."""

    reads: ClassVar = READS
    reads_if_present: ClassVar = READS_IF_PRESENT

    model: Annotated[str, Serves(ImageClassifier, only_scores=True)]
    """An ImageClassifier: `hf:owner/name@<commit>`, or an encoder of images and texts that takes any labels, such as
    `open_clip:ViT-L-14/openai`."""
    labels: Labels = Field(min_length=1)
    """Labels of the model that count: `["nsfw"]`. Their probabilities add up to the score."""
    other_labels: Labels = ()
    """What an image is otherwise: needed for a model that takes any labels, which chooses between all that it is
    given."""

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        check_apart(self.labels, self.other_labels)
        return self
