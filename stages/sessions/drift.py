"""How far the images of a session are from its first source, as a whole and where no turn asked for a change.

A turn asks for a change where its own images differ much, block by block of 8 x 8 px. What changed elsewhere, a little
in each turn, is drift: blur, a shift of colours, lost detail. Sums are of integers, so they are the same everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Scores = dict[str, float | None]

# H W pixels, h w blocks, C channels

BLOCK_PX = 8
L1_SCORES = ("session_l1", "session_outside_l1")
IMAGE_SCORE = "session_image_cos"
SESSION_SCORES = (*L1_SCORES, IMAGE_SCORE)
DECIMALS = 5


class Drift:
    """The first source of one session and the blocks that its turns asked to change. Turns are added in order."""

    def __init__(self, first: Image, asked_l1: float) -> None:
        """`asked_l1` is the mean difference within one turn above which a block is asked for, 0 to 1."""
        self.first_HWC = np.asarray(first, np.int16)
        self._asked_l1 = asked_l1
        height, width = self.first_HWC.shape[:2]
        self._asked_hw = np.zeros((-(-height // BLOCK_PX), -(-width // BLOCK_PX)), np.bool_)
        ones_HW = np.ones((height, width), np.int64)
        self._size_hw = _block_sums(ones_HW) * (3 * 255)

    def add(self, before: Image, after: Image) -> Scores:
        """`L1_SCORES` of the next turn; no values where an image has another size than the first."""
        if not before.size == after.size == self.first_HWC.shape[1::-1]:
            return dict.fromkeys(L1_SCORES)
        before_HWC, after_HWC = (np.asarray(image, np.int16) for image in (before, after))
        self._asked_hw |= _differences(before_HWC, after_HWC) > self._asked_l1 * self._size_hw
        moved_hw, kept_hw = _differences(self.first_HWC, after_HWC), ~self._asked_hw
        outside = moved_hw[kept_hw].sum() / self._size_hw[kept_hw].sum() if kept_hw.any() else None
        whole = moved_hw.sum() / self._size_hw.sum()
        return {
            "session_l1": round(float(whole), DECIMALS),
            "session_outside_l1": None if outside is None else round(float(outside), DECIMALS),
        }


def _differences(one_HWC: NDArray[np.int16], other_HWC: NDArray[np.int16]) -> NDArray[np.int64]:
    """(h, w): sum of the absolute differences of each block."""
    return _block_sums(np.abs(one_HWC - other_HWC).sum(axis=2, dtype=np.int64))


def _block_sums(values_HW: NDArray[np.int64]) -> NDArray[Any]:
    rows_hW = np.add.reduceat(values_HW, np.arange(0, values_HW.shape[0], BLOCK_PX), axis=0)
    return np.add.reduceat(rows_hW, np.arange(0, values_HW.shape[1], BLOCK_PX), axis=1)
