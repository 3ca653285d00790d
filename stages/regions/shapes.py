"""Shapes of masks: specks, outer contours, convex hulls, filled boxes, and margins around them.

Pure functions of arrays in whole numbers, so that every machine gives the same pixels. Pixels that touch at a corner
are connected, as in OpenCV's `findContours`. Owns geometry; which shape becomes the region is `stages.build_region`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.protocols import Bools

    Ints = npt.NDArray[np.int64]

# H W pixels, N masks or boxes

TOUCHING = np.ones((3, 3), np.bool_)
"""The neighbours of a pixel, corners included."""


def union(masks_NHW: Sequence[Bools], height_px: int, width_px: int) -> Bools:
    """Where any of the masks is true. Without masks nowhere."""
    found = np.zeros((height_px, width_px), np.bool_)
    for mask_HW in masks_NHW:
        found |= mask_HW
    return found


def filled_boxes(boxes_N4: Sequence[Sequence[float]], height_px: int, width_px: int) -> Bools:
    """The pixels whose centre lies in a box (x0, y0, x1, y1 in pixels from the image's corner)."""
    found = np.zeros((height_px, width_px), np.bool_)
    for box in boxes_N4:
        left, upper, right, lower = (max(0, int(np.ceil(edge - 0.5))) for edge in box)
        found[upper:lower, left:right] = True
    return found


def without_specks(mask_HW: Bools, min_px: float) -> Bools:
    """The mask without connected parts of fewer than `min_px` pixels."""
    from scipy.ndimage import label

    part_HW, _ = label(mask_HW, TOUCHING)
    is_kept = np.bincount(part_HW.ravel()) >= min_px
    is_kept[0] = False
    kept: Bools = is_kept[part_HW]
    return kept


def outer_contours(mask_HW: Bools) -> list[Bools]:
    """The area within each outer contour, (H, W) each, holes and what lies in them included.

    These are the contours of OpenCV's RETR_EXTERNAL: a part within the hole of another is none of its own.
    """
    part_HW, count = _outlined(mask_HW)
    return [part_HW == number for number in range(1, count + 1)]


def num_outer_contours(mask_HW: Bools) -> int:
    """The number of `outer_contours`."""
    return _outlined(mask_HW)[1]


def hulls(mask_HW: Bools) -> Bools:
    """The convex hull of each outer contour, filled. Hulls may overlap."""
    from scipy.ndimage import find_objects

    part_HW, count = _outlined(mask_HW)
    found = np.zeros(mask_HW.shape, np.bool_)
    for number, window in enumerate(find_objects(part_HW, count), start=1):
        found[window] |= convex_hull(part_HW[window] == number)
    return found


def convex_hull(mask_HW: Bools) -> Bools:
    """The pixels whose centre lies in or on the convex hull of the centres of the mask's pixels."""
    found = np.zeros(mask_HW.shape, np.bool_)
    rows = np.flatnonzero(mask_HW.any(axis=1))
    if not len(rows):
        return found
    first = mask_HW[rows].argmax(axis=1)
    last = mask_HW.shape[1] - 1 - mask_HW[rows, ::-1].argmax(axis=1)
    left, right = _left_edge(rows, first), -_left_edge(rows, -last)
    columns = np.arange(mask_HW.shape[1])
    found[rows[0] : rows[-1] + 1] = (columns >= left[:, None]) & (columns <= right[:, None])
    return found


def with_margin(mask_HW: Bools, margin_px: float) -> Bools:
    """The pixels at most `margin_px` away from the mask, centre to centre."""
    from scipy.ndimage import distance_transform_edt

    if margin_px < 1 or not mask_HW.any():
        return mask_HW.copy()
    grown: Bools = distance_transform_edt(~mask_HW) <= margin_px
    return grown


def _outlined(mask_HW: Bools) -> tuple[Any, int]:
    """The number of the outer contour around each pixel, 0 outside of all, and how many there are."""
    from scipy.ndimage import binary_fill_holes, label

    part_HW, count = label(binary_fill_holes(mask_HW), TOUCHING)
    return part_HW, int(count)


def _left_edge(rows: Ints, columns: Ints) -> Ints:
    """For every row from the first to the last, the least column within the hull of the points, rounded up.

    `rows` increase; each has the point (row, column) that is farthest left.
    """
    corners: list[tuple[int, int]] = []
    for point in zip(rows.tolist(), columns.tolist(), strict=True):
        while len(corners) > 1 and not _turns_left(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    if len(corners) == 1:
        return np.array([corners[0][1]])
    row_K, column_K = np.array(corners).T
    row = np.arange(row_K[0], row_K[-1] + 1)
    after = np.searchsorted(row_K, row[1:])  # the corner at or below each row but the first
    after = np.concatenate(([1], after))
    run, rise = column_K[after] - column_K[after - 1], row_K[after] - row_K[after - 1]
    edge: Ints = column_K[after - 1] - (-run * (row - row_K[after - 1])) // rise
    return edge


def _turns_left(one: tuple[int, int], two: tuple[int, int], three: tuple[int, int]) -> bool:
    """True where `two` is farther left than the line from `one` to `three`. Points are (row, column)."""
    return (two[1] - one[1]) * (three[0] - one[0]) < (three[1] - one[1]) * (two[0] - one[0])
