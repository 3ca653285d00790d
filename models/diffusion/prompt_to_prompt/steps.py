"""The steps that are run for a candidate, and the generators of the rows of a batch of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.diffusion.noise import generators

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.diffusion.prompt_to_prompt.prepare import PreparedPair
    from models.protocols import PairCandidate


def steps_run(prepared: PreparedPair, candidate: PairCandidate) -> int:
    """Number of steps that are run for a candidate. Without an anchor to start from, all are."""
    return candidate.num_steps if prepared.latent_Chw is None else candidate.num_steps_run


def pair_generators(seeds: Sequence[int], *, shares_noise: bool) -> list[Any]:
    """A generator a row, sources then targets: equal ones in a pair, or one that both draw from in turn."""
    sources = generators(seeds)
    return [*sources, *(generators(seeds) if shares_noise else sources)]
