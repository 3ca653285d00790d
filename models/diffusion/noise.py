"""Noise that depends on the seed of its row alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# R rows, C channels of a latent of h w


def generators(seeds: Iterable[int]) -> list[Any]:
    """One torch generator a seed, on the CPU, so that its noise is the same on every device."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def first_noise(drawn: list[Any], latent_size: Sequence[int], device: Any) -> Any:
    """The noise (R, C, h, w) that each row's generator gives next, float32."""
    import torch

    return torch.stack([torch.randn(*latent_size, generator=generator) for generator in drawn]).to(device)
