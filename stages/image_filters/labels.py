"""The probability that an image is of one of some labels, and the settings by which both scoring stages name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from core.errors import ModelError
from models.classifiers.labels import check_labels
from stages.image_filters.both_images import measure_both, rounded

if TYPE_CHECKING:
    from models.protocols import ImageClassifier
    from pipeline.stage import TwoPart
    from stages.image_filters.both_images import Measured


def _check(labels: tuple[str, ...]) -> tuple[str, ...]:
    if not all(label.strip() for label in labels):
        raise ValueError("one of the labels is empty; expected a label each")
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"{twice[0]!r} is there more than once; name each label once")
    return labels


Labels = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_check)]


def check_apart(labels: tuple[str, ...], other_labels: tuple[str, ...]) -> None:
    """Refuse a label that is on both sides."""
    if both := [label for label in labels if label in other_labels]:
        raise ValueError(f"{both[0]!r} is in labels and in other_labels; name it in one of them")


def check_known(model: object, labels: tuple[str, ...], model_id: str) -> None:
    """Refuse labels that the model does not know. Raises ModelError, which lists those that it knows."""
    check_labels(model, labels, f"model {model_id!r}")


def label_scores(
    classifier: ImageClassifier, measure: str, labels: tuple[str, ...], other_labels: tuple[str, ...], model_id: str
) -> TwoPart:
    """The function of a stage: `measure` is the sum of the probabilities of `labels`.

    Raises ModelError for labels that the model does not know, and for a model that chooses between labels where there
    are no others.
    """
    asked = (*labels, *other_labels)
    check_known(classifier, asked, model_id)
    if not classifier.labels and not other_labels:
        raise ModelError(
            f"model {model_id!r} takes any labels and chooses between them; set other_labels to what an image is "
            "otherwise"
        )

    def score(images: Any) -> Measured:
        prob_BK = classifier.classify(images, asked)
        return {measure: rounded(prob_BK[:, : len(labels)].sum(axis=1).clip(0, 1))}

    return measure_both(classifier, (measure,), score)
