"""The settings of candidates, drawn by chance. A parent's candidates are drawn in order, from its own generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.protocols import PairCandidate

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SEED_BITS = 32
DECIMALS = 4
"""Kept of a number that is drawn, so that a dataset's columns name it in full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """What may be drawn: one of `num_steps`, a number from each range, both ends included.

    `ring_share` of the candidates have a soft ring, of one of `ring_values`.
    """

    num_steps: tuple[int, ...]
    strength: float
    guidance_scale: tuple[float, float]
    attention_frac: tuple[float, float]
    ring_values: tuple[float, ...] = ()
    ring_share: float = 0.0

    def candidates(self, rng: random.Random, *, has_ring: bool) -> Iterator[PairCandidate]:
        """Candidates without end. Without a ring they are the same but for its value."""
        while True:
            drawn = self._draw(rng)
            yield drawn if has_ring else replace(drawn, ring_frac=None)

    def _draw(self, rng: random.Random) -> PairCandidate:
        seed = rng.getrandbits(SEED_BITS)
        num_steps = rng.choice(self.num_steps)
        guidance = round(rng.uniform(*self.guidance_scale), DECIMALS)
        attention = round(rng.uniform(*self.attention_frac), DECIMALS)
        is_ringed = rng.random() < self.ring_share
        ring = rng.choice(self.ring_values) if self.ring_values else None
        return PairCandidate(
            seed=seed, num_steps=num_steps, strength=self.strength, guidance_scale=guidance,
            cross_attention_frac=attention, self_attention_frac=attention, ring_frac=ring if is_ringed else None,
        )  # fmt: skip
