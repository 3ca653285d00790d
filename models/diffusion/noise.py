"""Noise that depends on the seed of its row alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def generators(seeds: Iterable[int]) -> list[Any]:
    """One torch generator a seed, on the CPU, so that its noise is the same on every device."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
