"""Aspect-ratio buckets: the sizes that images of different shapes are cut to, each of about the same area.

An image goes to the size whose ratio of width to height is nearest to its own, a function of the image alone. Sides are
multiples of an eighth of the square's side, and no side is more than twice the other: with 512 px, 704 x 384, 640 x
384, 576 x 448, 512 x 512 and the same upright. Imports nothing heavy.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

STEPS = 8
"""Units that the side of the square has."""


@cache
def bucket_sizes(size_px: int) -> tuple[tuple[int, int], ...]:
    """(width, height) of each bucket, from the most upright to the widest. `size_px` is a multiple of STEPS."""
    unit = size_px // STEPS
    wide = []
    for long in range(STEPS, 2 * STEPS + 1):
        short = (STEPS * STEPS + long // 2) // long
        if long <= 2 * short:
            wide.append((long * unit, short * unit))
    return (*((short, long) for long, short in reversed(wide[1:])), *wide)


def bucket_of(width_px: int, height_px: int, size_px: int) -> tuple[int, int]:
    """(width, height) of the bucket of an image. Between two buckets the geometric mean of their ratios decides."""
    sizes = bucket_sizes(size_px)
    for (width, height), (wider, lower) in pairwise(sizes):
        # whole numbers, so that no machine rounds a ratio to another side
        if width_px * width_px * height * lower < height_px * height_px * width * wider:
            return width, height
    return sizes[-1]
