"""Random numbers of a training: each a function of the seed, the number of a sample and a name.

Neither the batch that a sample is in, nor the process, nor what was drawn before changes them: a training that was
resumed, or runs in more processes, draws the numbers that any other would. Asked for one name twice, the same numbers
come twice, so each quantity needs a name of its own. On another kind of CPU normal numbers may differ in their last
bits, as torch rounds differently there.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Generator, Tensor

# B rows


class Draws:
    """The random numbers of one batch's samples. Drawn on the CPU, placed on `device`."""

    def __init__(self, seed: int, number_B: Tensor, device: torch.device | None = None) -> None:
        """`number_B` counts samples over the whole training and all processes."""
        self.seed, self.number_B = seed, number_B
        self._device = device or torch.device("cpu")

    def select(self, rows: list[int]) -> Draws:
        """The random numbers of some of the samples: those that they have in the whole batch."""
        return Draws(self.seed, self.number_B[rows], self._device)

    def normal(self, name: str, shape: Sequence[int] = ()) -> Tensor:
        """Standard normal numbers (B, *shape)."""
        return self._each(name, lambda generator: torch.randn(tuple(shape), generator=generator))

    def uniform(self, name: str, shape: Sequence[int] = ()) -> Tensor:
        """Numbers (B, *shape) from 0, included, to 1."""
        return self._each(name, lambda generator: torch.rand(tuple(shape), generator=generator))

    def integers(self, name: str, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Whole numbers (B, *shape) from 0 to `high` - 1, each as likely, int64."""
        return self._each(name, lambda generator: torch.randint(high, tuple(shape), generator=generator))

    def choice(self, name: str, weights: Sequence[float]) -> Tensor:
        """(B,) places in `weights`, int64, each as likely as its share of their sum."""
        shares = torch.tensor(weights, dtype=torch.float64)
        return self._each(name, lambda generator: torch.multinomial(shares, 1, generator=generator)[0])

    def _each(self, name: str, draw: Callable[[Generator], Tensor]) -> Tensor:
        texts = [f"{self.seed}/{number}/{name}" for number in self.number_B.tolist()]
        return torch.stack([draw(generator_of(text)) for text in texts]).to(self._device)


def generator_of(text: str) -> Generator:
    """A generator on the CPU, seeded by a hash of the text."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
