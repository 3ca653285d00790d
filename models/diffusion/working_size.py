"""The size at which a network sees an image."""

from __future__ import annotations


def working_size(size: tuple[int, int], longer_px: int, multiple_px: int) -> tuple[int, int]:
    """(width, height) with the longer side at `longer_px`, the shape kept, both sides multiples of `multiple_px`."""
    scale = longer_px / max(size) / multiple_px
    width, height = (max(1, round(side * scale)) * multiple_px for side in size)
    return width, height
