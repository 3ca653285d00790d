"""The two passes of a cycle: edit the source by the instruction, then edit the result back by the reverse instruction.

Each pass is one prediction of the network at a timestep of its own, read as a clean latent. Owns no loss and draws
nothing: timesteps and noise are arguments.

Source  Simsar et al. 2024, UIP2P, section 4 and figure 3; the one-step estimate is inferred from them. Tewel et al.
2026, Bootstrap Your Generator, for the clean condition.

Chosen, where UIP2P does not say: the reverse pass sees the edited latent itself, unscaled as the autoencoder would
encode it, and nothing is detached between the passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from trainer.diffusion.schedule import noised

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

    from models.diffusion.text_conditions import TextCondition
    from trainer.diffusion.schedule import Schedule

# B rows, C channels, h w cells of a latent, Q queries (places of the feature map), L tokens


class Networks(Protocol):
    """The trained network and what belongs to it, as a cycle uses them."""

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        ...

    def predict(self, input_BChw: Tensor, timestep_B: Tensor, texts: TextCondition) -> Tensor:
        """The network's output for a noisy latent and, behind it, the unscaled latent of the image that it sees."""
        ...

    def unscaled(self, latent_BChw: Tensor) -> Tensor:
        """Latents as the autoencoder's encoder gives them, from scaled ones."""
        ...

    def recording(self) -> AbstractContextManager[Mapping[str, Tensor]]:
        """Name of a layer -> its attention map (B, Q, L), filled by the passes within."""
        ...


class Noise(NamedTuple):
    """The timestep index (B,), int64, and the noise (B, C, h, w) of one pass."""

    timestep_B: Tensor
    noise_BChw: Tensor


class OneStep(NamedTuple):
    """One pass: the noisy latent it started from, its estimate of the clean latent, and its attention maps."""

    noisy_BChw: Tensor
    clean_BChw: Tensor
    maps: Mapping[str, Tensor]


def one_step(networks: Networks, latent_BChw: Tensor, seen_BChw: Tensor, noise: Noise, texts: TextCondition) -> OneStep:
    """Add noise to `latent_BChw`, and read the prediction of the network that sees `seen_BChw` as a clean latent.

    Both latents are scaled.
    """
    alpha_B = networks.schedule.alpha(noise.timestep_B)
    noisy_BChw = noised(latent_BChw, noise.noise_BChw, alpha_B)
    with networks.recording() as maps:
        out_BChw = _output(networks, noisy_BChw, seen_BChw, noise.timestep_B, texts)
    return OneStep(noisy_BChw, networks.schedule.clean_in(out_BChw, noisy_BChw, noise.timestep_B), maps)


@torch.no_grad()
def denoised(
    networks: Networks, noisy_BChw: Tensor, seen_BChw: Tensor, timestep_B: Tensor, texts: TextCondition, num_steps: int
) -> Tensor:
    """The clean latent in `num_steps` steps of DDIM from `timestep_B` on, each as long as the others, without gradient.

    Source  Song et al. 2020, DDIM, equation 12 with eta = 0.
    """
    schedule = networks.schedule
    for step in range(num_steps):
        time_B = timestep_B * (num_steps - step) // num_steps
        out_BChw = _output(networks, noisy_BChw, seen_BChw, time_B, texts)
        clean_BChw = schedule.clean_in(out_BChw, noisy_BChw, time_B)
        if step == num_steps - 1:
            return clean_BChw
        noise_BChw = schedule.noise_in(out_BChw, noisy_BChw, time_B)
        next_B = timestep_B * (num_steps - step - 1) // num_steps
        noisy_BChw = noised(clean_BChw, noise_BChw, schedule.alpha(next_B))
    raise AssertionError("num_steps is at least 1")


def straight_through(value_BChw: Tensor, source_BChw: Tensor) -> Tensor:
    """The first latent, with the gradient of the second."""
    return value_BChw.detach() + source_BChw - source_BChw.detach()


def _output(
    networks: Networks, noisy_BChw: Tensor, seen_BChw: Tensor, timestep_B: Tensor, texts: TextCondition
) -> Tensor:
    return networks.predict(torch.cat([noisy_BChw, networks.unscaled(seen_BChw)], 1), timestep_B, texts)
