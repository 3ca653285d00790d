"""The steps in which each pair of a batch shares attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from models.diffusion.prompt_to_prompt.word_maps import word_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.diffusion.prompt_to_prompt.attention import SharedAttention
    from models.diffusion.prompt_to_prompt.prepare import PreparedPair
    from models.diffusion.prompt_to_prompt.settings import PairSettings
    from models.protocols import PairCandidate


def self_steps(frac: float, num_calls: int) -> int:
    """Number of the first calls of the network in which self-attention is shared, as in the released code."""
    return math.floor(frac * num_calls + 1e-9)


def cross_steps(frac: float, num_calls: int) -> int:
    """The same of cross-attention: the released code counts one step more, and so shares it in a single step."""
    return min(num_calls, math.floor(frac * (num_calls + 1) + 1e-9))


def self_limit(latent_size: tuple[int, int], max_self_tokens: int | None) -> int:
    """Most queries of a layer whose self-attention is shared; None: those of a grid of 4 x 4 latent pixels."""
    height, width = latent_size
    return math.ceil(height / 4) * math.ceil(width / 4) if max_self_tokens is None else max_self_tokens


class AttentionPlan:
    """Sets before each call of the network what its processors share, for a batch of pairs with shares of their own."""

    def __init__(
        self, shared: SharedAttention, prepared: Sequence[PreparedPair], candidates: Sequence[PairCandidate],
        settings: PairSettings, *, num_calls: int, first_row: int,
    ) -> None:  # fmt: skip
        """`num_calls` of the network in all, `first_row` the first with text."""
        self._shared, self._prepared, self._first_row = shared, prepared, first_row
        self._self_steps = [self_steps(one.self_attention_frac, num_calls) for one in candidates]
        self._cross_steps = [cross_steps(one.cross_attention_frac, num_calls) for one in candidates]
        shared.max_self_tokens = self_limit(prepared[0].latent_size, settings.max_self_tokens)
        self._now: list[list[int]] | None = None
        self.maps = word_maps(prepared, settings, first_row)
        """Maps for the local blend, or None where no pair asks for it."""

    def set(self, step: int) -> None:
        """Prepare the processors for a step, counted from 0."""
        now = [
            [pair for pair, last in enumerate(ends) if step < last] for ends in (self._self_steps, self._cross_steps)
        ]
        if now != self._now:
            self._now = now
            self._shared.clear()
            self._share_self(now[0])
            self._share_cross(now[1])
            if self.maps is not None:
                self._shared.maps = self.maps
                self.maps.set(now[1])

    def _share_self(self, pairs: list[int]) -> None:
        if pairs:
            num_pairs, first = len(self._prepared), self._first_row
            rows = list(range(first + 2 * num_pairs))
            for pair in pairs:
                rows[first + num_pairs + pair] = first + pair
            self._shared.self_rows_B = self._index(rows)

    def _share_cross(self, pairs: list[int]) -> None:
        import torch

        if pairs:
            num_pairs, first, edits = (
                len(self._prepared),
                self._first_row,
                [self._prepared[pair].edit for pair in pairs],
            )
            self._shared.source_rows_K = self._index([first + pair for pair in pairs])
            self._shared.target_rows_K = self._index([first + num_pairs + pair for pair in pairs])
            self._shared.carried_KLL = torch.stack([edit.carried_LL for edit in edits])
            self._shared.kept_KL = torch.stack([edit.kept_L for edit in edits])

    def _index(self, rows: list[int]) -> Any:
        import torch

        return torch.tensor(rows, device=self._prepared[0].edit.kept_L.device)
