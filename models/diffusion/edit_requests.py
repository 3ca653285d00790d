"""Checks of requests that the editors of this folder share. What is wrong is a ValueError that names the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import EditRequest


def texts_of(requests: Sequence[EditRequest], field: Literal["instruction", "target_caption"], why: str) -> list[str]:
    """One text a request. Raises ValueError for a request without it; `why` ends the message."""
    texts: list[str] = []
    for row, one in enumerate(requests):
        text = getattr(one, field)
        if text is None:
            raise ValueError(f"request {row} has no {field}; {why}")
        texts.append(text)
    return texts


def check_masks(requests: Sequence[EditRequest]) -> None:
    """Raise ValueError for a mask that is no boolean array of its image's height and width."""
    for row, one in enumerate(requests):
        mask_HW, image = one.mask, one.image
        if mask_HW is not None and (mask_HW.shape != (image.height, image.width) or mask_HW.dtype != bool):
            raise ValueError(
                f"mask {row} is {mask_HW.dtype} of shape {mask_HW.shape}, its image is {image.width} x {image.height} "
                "pixels; pass booleans of (height, width)"
            )
