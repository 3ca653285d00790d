"""Cosines between the vectors of a pair: images with captions, image with image, change with change.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.1.2 (the directional similarity of Gal et al. 2022, differences
        of vectors of unit length).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.protocols import Floats

# B rows, D embedding; each row of length 1

CAPTION_SCORES = (
    "source_caption_cos",
    "target_caption_cos",
    "target_margin_cos",
    "pair_image_cos",
    "pair_direction_cos",
)

ROUNDING = 1e-5
"""Length of a difference between vectors of one image, or of one text, that other rows of a batch can make."""
HALF_ROUNDING = 1e-3
"""The same where one of the two was stored in half precision: twice the most that its digits can make."""


def caption_scores(
    source_BD: Floats, target_BD: Floats, source_text_BD: Floats, target_text_BD: Floats, *, rounding: float = ROUNDING
) -> dict[str, Floats]:
    """(B,) of each of `CAPTION_SCORES`, from the vectors of the images and of the captions.

    A difference of two images that is no longer than `rounding` is no change.
    """
    found = (
        (source_BD * source_text_BD).sum(1),
        (target_BD * target_text_BD).sum(1),
        (target_BD * (target_text_BD - source_text_BD)).sum(1),
        (source_BD * target_BD).sum(1),
        _cosine(target_BD - source_BD, target_text_BD - source_text_BD, rounding),
    )
    return dict(zip(CAPTION_SCORES, found, strict=True))


def _cosine(one_BD: Floats, other_BD: Floats, rounding: float) -> Floats:
    """Row by row, or 0 where one of the two has no length but rounding: the first `rounding`, the second ROUNDING."""
    one_B, other_B = (np.linalg.norm(rows_BD, axis=1) for rows_BD in (one_BD, other_BD))
    is_change_B = (one_B > rounding) & (other_B > ROUNDING)
    cosine: Floats = (one_BD * other_BD).sum(1) * is_change_B / np.maximum(one_B * other_B, ROUNDING**2)
    return cosine
