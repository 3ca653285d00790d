"""Blends that keep a part of a pair as it is: the anchor outside of a region.

Source  the modified inpainting of UltraEdit, Zhao et al. 2024: the anchor is put back after some steps only, and inside
the soft ring of the region in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.diffusion.prompt_to_prompt.prepare import PreparedPair
    from models.diffusion.prompt_to_prompt.settings import PairSettings
    from models.protocols import PairCandidate

# R rows: N sources, then their N targets; h w of a latent


def made_anew(prepared: Sequence[PreparedPair], candidates: Sequence[PairCandidate]) -> Any:
    """(R, 1, h, w): how much of each latent pixel is made anew, or None where no pair has a region.

    1 in the core, the candidate's value in the ring around it, 0 outside. Pixels on an edge hold a mixture.
    """
    import torch

    if all(one.region_hw is None for one in prepared):
        return None
    rows = [_made_anew(one, candidate.ring_frac) for one, candidate in zip(prepared, candidates, strict=True)]
    return torch.stack(rows + rows)[:, None]


def _made_anew(prepared: PreparedPair, ring_frac: float | None) -> Any:
    import torch

    region, core = prepared.region_hw, prepared.core_hw
    if region is None:
        return torch.ones(prepared.latent_size, device=prepared.edit.kept_L.device)
    if core is None or ring_frac is None:
        return region
    return core + ring_frac * (region - core).clamp(min=0)


def puts_back(settings: PairSettings, step: int, num_calls: int) -> bool:
    """True when the anchor is put back after a step, counted from 0."""
    if step == num_calls - 1 and settings.blends_last:
        return True
    return settings.blend_steps == "every" or step % 2 == (settings.blend_steps == "odd")
