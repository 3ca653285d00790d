"""Which conditions of a sample are taken away, so that the network learns to do without text, images, or both.

One uniform number a sample decides. Owns the decision alone, not what stands for an absent condition.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2.1.
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


@dataclass(frozen=True, slots=True)
class Dropout:
    """Shares of samples that lose the text alone, the images alone, and both: each 0 to 1, together at most 1."""

    text: float
    image: float
    both: float

    def dropped(self, uniform_B: Tensor) -> Dropped:
        """The decision for numbers from 0, included, to 1: first come the texts, then both, then the images."""
        text_B = uniform_B < self.text + self.both
        image_B = (uniform_B >= self.text) & (uniform_B < self.text + self.both + self.image)
        return Dropped(text_B, image_B)
