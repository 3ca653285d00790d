"""A rating from a classifier: the mean of the values of its labels, weighted by their probabilities.

Source  Wang et al. 2023, CLIP-IQA: with an encoder of images and texts and the two labels "Good photo." (value 1) and
        "Bad photo." (value 0) the rating is that paper's score. A classifier trained on classes of quality is used the
        same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import prepared
from models.classifiers.labels import check_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Floats, ImageClassifier

# B rows, K labels


class LabelValues:
    """An ImageRater over an ImageClassifier. Ratings lie between the least and the greatest of the values."""

    def __init__(self, classifier: ImageClassifier, *, label_values: Sequence[tuple[str, float]]) -> None:
        """Raises ValueError for fewer than two labels, ModelError for a label that the classifier does not know."""
        if len(label_values) < 2:
            raise ValueError(
                'a classifier rates by values of labels; set label_values = { "…" = 1.0, "…" = 0.0 } with two or more'
            )
        self._labels = tuple(label for label, _ in label_values)
        check_labels(classifier, self._labels, "label_values")
        self._classifier, self._values = classifier, tuple(value for _, value in label_values)

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """What the classifier prepares."""
        return prepared(self._classifier, images)

    def rate_images(self, images: Sequence[Image]) -> Floats:
        """(B,): labels without a value have no part in the mean."""
        import numpy as np

        prob_BK = self._classifier.classify(images, self._labels)
        share_BK = prob_BK / np.maximum(prob_BK.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        rating_B: Floats = (share_BK * np.array(self._values, np.float32)).sum(axis=1)
        return rating_B
