"""How many things of some phrases a detector finds on an image, and the share of the image inside their boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stages.regions.boxes import find_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Detector

MAX_BOXES = 1000
"""Most boxes of an image: more than a detector gives."""


def found_areas(
    detector: Detector, images: Sequence[Image], phrases: Sequence[str], *, threshold: float, max_iou: float
) -> list[tuple[int, float]]:
    """For each image (number of boxes, share of the image inside any of them)."""
    found = find_boxes(
        detector, images, [list(phrases)] * len(images), threshold=threshold, max_iou=max_iou, max_boxes=MAX_BOXES
    )
    return [(len(one.edges), covered_frac(one.edges, image.size)) for one, image in zip(found, images, strict=True)]


def covered_frac(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> float:
    """The share of an image (width, height) inside any of the boxes (x0, y0, x1, y1), edges rounded to pixels."""
    width, height = size
    inside_HW = np.zeros((height, width), np.bool_)
    for box in boxes:
        x0, y0, x1, y1 = (max(0, round(edge)) for edge in box)
        inside_HW[y0:y1, x0:x1] = True
    return float(inside_HW.mean())
