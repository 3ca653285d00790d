"""Decides which samples lose their text, their images or both: an editor learns to do without, as guidance needs it.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

# B rows


class Dropped(NamedTuple):
    """The samples (B,), bool, that lose their text, and those that lose their images."""

    text_B: Tensor
    image_B: Tensor

    def select(self, rows: list[int]) -> Dropped:
        """The same decisions for some of the samples."""
        return Dropped(self.text_B[rows], self.image_B[rows])


@dataclass(frozen=True, slots=True)
class Dropout:
    """Shares of samples that lose the text alone, the images alone, and both: each 0 to 1, together at most 1."""

    text: float
    image: float
    both: float

    def dropped(self, uniform_B: Tensor) -> Dropped:
        """The decision for numbers from 0, included, to 1: below are the texts, then both, then the images."""
        text_B = uniform_B < self.text + self.both
        image_B = (uniform_B >= self.text) & (uniform_B < self.text + self.both + self.image)
        return Dropped(text_B, image_B)
