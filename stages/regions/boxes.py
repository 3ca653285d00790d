"""Boxes and masks of named things: what a detector and a box segmenter give, a list an image.

`stages.ground_object`, `stages.segment_box` and `stages.mask_object` share it. Owns which boxes are kept, and that an
image that several rows share is segmented once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.batches import alike
from samples.stored_images import MAX_MADE_PIXELS, rgb_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL.Image import Image

    from models.protocols import Bools, BoxSegmenter, Detections, Detector, Floats

# N boxes, H W pixels

DECIMALS_PX = 2
DECIMALS = 5
"""Kept of an edge in pixels and of a score: what lies below depends on how rows fell into batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Boxes:
    """Boxes of one image: (x0, y0, x1, y1) in pixels, scores 0 to 1 from high to low, phrases."""

    edges: list[list[float]]
    scores: list[float]
    phrases: list[str]


def shared_images(encoded: Iterable[bytes]) -> list[Image]:
    """The images in RGB. Rows with the same bytes share one object, which the functions below look at once."""
    rows = list(encoded)
    made = {image: rgb_image(image, MAX_MADE_PIXELS) for image in dict.fromkeys(rows)}
    return [made[image] for image in rows]


def find_boxes(
    detector: Detector, images: Sequence[Image], phrases: Sequence[Sequence[str]], *,
    threshold: float, max_iou: float, max_boxes: int,
) -> list[Boxes]:  # fmt: skip
    """The boxes of each image that show its phrases, at most `max_boxes` of those that `max_iou` leaves."""
    found = detector.detect(images, phrases, threshold=threshold)
    return [_kept(detections, max_iou, max_boxes) for detections in found]


def segment_boxes(
    segmenter: BoxSegmenter, images: Sequence[Image], boxes: Sequence[Sequence[Sequence[float]]]
) -> list[list[Bools]]:
    """One mask (H, W) a box."""
    shared = [rows for rows in alike(id(image) for image in images) if any(boxes[row] for row in rows)]
    asked = [np.array([box for row in rows for box in boxes[row]], np.float32) for rows in shared]
    results = segmenter.segment_boxes([images[rows[0]] for rows in shared], asked)
    found: list[list[Bools]] = [[] for _ in images]
    for rows, result in zip(shared, results, strict=True):
        masks = iter(result.masks_NHW)
        for row in rows:
            found[row] = [next(masks) for _ in boxes[row]]
    return found


def without_overlap(boxes_N4: Floats, scores_N: Floats, max_iou: float) -> list[int]:
    """The numbers of the boxes, surest first, of which no two have an IoU above `max_iou`: the surer one stays.

    Greedy non-maximum suppression, whatever the boxes' phrases. Boxes that are as sure are taken by their edges, since
    rounded scores tie and the order in which a detector gives them depends on its batch. A box without an area goes,
    and so does one with an edge or a score that is not finite.
    """
    order = np.lexsort((*boxes_N4.T[::-1], -np.asarray(scores_N)))
    size_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
    is_box_N = (size_N2 > 0).all(axis=1) & np.isfinite(boxes_N4).all(axis=1) & np.isfinite(scores_N)
    area_N = np.where(is_box_N, size_N2.prod(axis=1), 0)
    kept: list[int] = []
    for number in order.tolist():
        if area_N[number] > 0 and (_iou(boxes_N4, area_N, number, kept) <= max_iou).all():
            kept.append(number)
    return kept


def _iou(boxes_N4: Floats, area_N: Floats, one: int, others: list[int]) -> Floats:
    lower_K2 = np.maximum(boxes_N4[one, :2], boxes_N4[others, :2])
    upper_K2 = np.minimum(boxes_N4[one, 2:], boxes_N4[others, 2:])
    shared_K = np.maximum(upper_K2 - lower_K2, 0).prod(axis=1)
    iou_K: Floats = shared_K / (area_N[one] + area_N[others] - shared_K)
    return iou_K


def _kept(found: Detections, max_iou: float, max_boxes: int) -> Boxes:
    boxes_N4, scores_N = np.round(found.boxes_N4, DECIMALS_PX), np.round(found.scores_N, DECIMALS)
    kept = without_overlap(boxes_N4, scores_N, max_iou)[:max_boxes]
    return Boxes(
        edges=[boxes_N4[number].tolist() for number in kept],
        scores=[float(scores_N[number]) for number in kept],
        phrases=[found.phrases[number] for number in kept],
    )
