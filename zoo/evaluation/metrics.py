"""The measures: intersection over union, average precision, nearest neighbours."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.protocols import Detections


def iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, or 1 when both are empty."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 1.0


def box_iou(one_4: npt.NDArray[np.float32], other_4: npt.NDArray[np.float32]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    low, high = np.maximum(one_4[:2], other_4[:2]), np.minimum(one_4[2:], other_4[2:])
    common = float(np.prod(np.clip(high - low, 0, None)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (one_4, other_4))
    return common / (areas - common) if areas > common else 0.0


Truth = tuple[str, "npt.NDArray[np.float32]"]  # a phrase and its box


def average_precision(found: Sequence[Detections], truths: Sequence[Sequence[Truth]], min_iou: float = 0.5) -> float:
    """Average precision over all images: detections from the surest to the least sure, each truth claimed once.

    A detection is right when a truth of the same phrase overlaps by `min_iou` and is unclaimed. The area under the
    precision-recall curve, precision made to fall with recall (as Pascal VOC 2010 and COCO do).
    """
    num_truths = sum(len(truth) for truth in truths)
    claims = sorted(
        ((float(score), image, index) for image, one in enumerate(found) for index, score in enumerate(one.scores_N)),
        key=lambda claim: -claim[0],
    )
    taken: set[tuple[int, int]] = set()
    right = np.zeros(len(claims))
    for rank, (_, image, index) in enumerate(claims):
        box, phrase = found[image].boxes_N4[index], found[image].phrases[index]
        overlaps = [
            (box_iou(box, truth_box), number)
            for number, (truth_phrase, truth_box) in enumerate(truths[image])
            if truth_phrase == phrase and (image, number) not in taken
        ]
        if overlaps and max(overlaps)[0] >= min_iou:
            taken.add((image, max(overlaps)[1]))
            right[rank] = 1
    precision = np.cumsum(right) / np.arange(1, len(claims) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((falling * right).sum() / num_truths)


def nearest_labels(
    query_QD: npt.NDArray[np.float32], known_KD: npt.NDArray[np.float32], labels: Sequence[str], k: int
) -> list[str]:
    """For each query the commonest label among its `k` nearest by cosine (rows have length 1)."""
    nearest_Qk = np.argsort(-(query_QD @ known_KD.T), axis=1)[:, :k]
    return [Counter(labels[index] for index in row).most_common(1)[0][0] for row in nearest_Qk]


def class_ious(
    found: Sequence[npt.NDArray[np.int64]], truths: Sequence[npt.NDArray[np.int64]], num_classes: int
) -> npt.NDArray[np.float64]:
    """Intersection over union of each class, pixels of all images together, or nan where none is. -1 is no class."""
    common, seen, there = (np.zeros(num_classes) for _ in range(3))
    for one, truth in zip(found, truths, strict=True):
        common += np.bincount(truth[one == truth].ravel(), minlength=num_classes)
        seen += np.bincount(one[one >= 0].ravel(), minlength=num_classes)
        there += np.bincount(truth.ravel(), minlength=num_classes)
    union = seen + there - common
    return np.where(there > 0, common / np.maximum(union, 1), np.nan)
