"""Local blend: outside of the places that some words are attended to, the target is kept as the source.

These are the only attention maps that are held: of the named words, summed over heads, layers and steps.

Source  Hertz et al. 2022, Prompt-to-Prompt, section 3.2 "Local editing"; grid, pooling and threshold are those of its
released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.diffusion.prompt_to_prompt.alignment import MapEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.diffusion.prompt_to_prompt.prepare import PreparedPair
    from models.diffusion.prompt_to_prompt.settings import PairSettings

# R rows: N sources, then their N targets; K pairs with a local blend; L tokens, Q queries, H heads; g g the grid


class WordMaps:
    """Maps of the words of a batch's pairs, and the blend that they lead."""

    def __init__(self, prepared: Sequence[PreparedPair], settings: PairSettings, first_row: int) -> None:
        """Maps of layers without a query for each `blend_grid` x `blend_grid` latent pixels are not used."""
        import torch

        self._pairs = [pair for pair, one in enumerate(prepared) if one.blend_words_2L is not None]
        self._prepared, self._num_pairs, self._first_row = prepared, len(prepared), first_row
        height, width = prepared[0].latent_size
        self._grid = (max(1, height // settings.blend_grid), max(1, width // settings.blend_grid))
        self._threshold = settings.blend_threshold
        device = prepared[0].edit.kept_L.device
        words = [prepared[pair].blend_words_2L for pair in self._pairs]
        self._words_K2L = torch.stack(words)
        self._sum_K2gg = torch.zeros(len(self._pairs), 2, *self._grid, device=device)
        self._edit: MapEdit | None = None
        self._is_filled = False

    @property
    def num_queries(self) -> int:
        """Queries of the layers whose maps are used."""
        return self._grid[0] * self._grid[1]

    def set(self, sharing: Sequence[int]) -> None:
        """Say which pairs of the batch share cross-attention in the next call of the network."""
        import torch

        edits = [self._prepared[pair].edit for pair in self._pairs]
        on = torch.tensor([pair in sharing for pair in self._pairs], device=self._sum_K2gg.device)
        carried = torch.stack([edit.carried_LL for edit in edits])
        kept = torch.stack([edit.kept_L for edit in edits])
        self._edit = MapEdit(carried * on[:, None, None], torch.where(on[:, None], kept, torch.ones_like(kept)))

    def add(self, query_BHQD: Any, key_BHLD: Any) -> None:
        """Add the maps of one layer, those of the targets as they were edited."""
        sources = [self._first_row + pair for pair in self._pairs]
        targets = [row + self._num_pairs for row in sources]
        source_KQL, target_KQL = (_map(query_BHQD[rows], key_BHLD[rows]) for rows in (sources, targets))
        assert self._edit is not None
        target_KQL = source_KQL @ self._edit.carried_LL + target_KQL * self._edit.kept_L[:, None]
        for side, map_KQL in enumerate((source_KQL, target_KQL)):
            words_KQ = (map_KQL @ self._words_K2L[:, side, :, None]).squeeze(-1)
            self._sum_K2gg[:, side] += words_KQ.unflatten(-1, self._grid)
        self._is_filled = True

    def blended(self, latent_RChw: Any) -> Any:
        """Latents in which a target is its source where neither map of the pair reaches the threshold.

        Raises ValueError when no layer of the network has maps of the grid's size.
        """
        from torch.nn.functional import interpolate, max_pool2d

        if not self._is_filled:
            raise ValueError(f"no cross-attention has maps of {self._grid} for the local blend; set blend_grid")
        pooled_K2gg = max_pool2d(self._sum_K2gg, 3, stride=1, padding=1)
        map_K2hw = interpolate(pooled_K2gg, latent_RChw.shape[-2:])
        is_word_K2hw = map_K2hw > self._threshold * map_K2hw.amax(dim=(-2, -1), keepdim=True)
        is_word_K1hw = is_word_K2hw.any(dim=1, keepdim=True)
        latent_RChw = latent_RChw.clone()
        targets = [self._num_pairs + pair for pair in self._pairs]
        latent_RChw[targets] = latent_RChw[targets].where(is_word_K1hw, latent_RChw[self._pairs])
        return latent_RChw


def _map(query_KHQD: Any, key_KHLD: Any) -> Any:
    """(K, Q, L), float32: attention, the mean of all heads."""
    scale = query_KHQD.shape[-1] ** -0.5
    score_KHQL = query_KHQD.float() @ key_KHLD.float().transpose(-1, -2) * scale
    return score_KHQL.softmax(dim=-1).mean(dim=1)


def word_maps(prepared: Sequence[PreparedPair], settings: PairSettings, first_row: int) -> WordMaps | None:
    """The maps of a batch, or None when no pair asks for a local blend."""
    if all(one.blend_words_2L is None for one in prepared):
        return None
    return WordMaps(prepared, settings, first_row)
