"""Noising a source and reading it as a noised target: equations 2, 3 and 7 of iEdit, and what is drawn for a sample.

Source  arXiv 2305.05947, section 3; alpha is DDIM's, the cumulative product.

Nothing is guarded silently. Equation 3 divides by sqrt(1 - alpha), equation 7 by sqrt(alpha): with Stable Diffusion's
schedule epsilon_2 - epsilon_1 = sqrt(alpha / (1 - alpha)) (z_1 - z_2) is 34 times the latents' difference at the first
timestep, 2.9 times at the hundredth, 0.4 times at the six hundredth. The weight t/T of equation 12 bounds what that
squares to (1175 at t = 1 becomes 1.2); the unweighted loss of equation 4 is left to grow.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

# B rows, C channels, h w cells of a latent


class Drawn(NamedTuple):
    """The timestep index (0 to T - 1, int64) and the noise epsilon_1 of each sample, on the CPU."""

    timestep_B: Tensor
    noise_BChw: Tensor


def draw(seed: int, number_B: Tensor, shape_Chw: tuple[int, ...], num_timesteps: int) -> Drawn:
    """Timestep, uniform, and standard normal noise of each sample, from the seed and the sample's number alone.

    Neither the batch a sample is in, nor the process, nor what was drawn before changes them: a training that was
    resumed, or is spread over more processes, draws what any other would. On another kind of CPU the noise may differ
    in its last bits: torch rounds differently with other vector instructions.
    """
    timesteps, noises = [], []
    for number in number_B.tolist():
        digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
        timesteps.append(torch.randint(num_timesteps, (), generator=generator))
        noises.append(torch.randn(shape_Chw, generator=generator))
    return Drawn(torch.stack(timesteps), torch.stack(noises))


def noisy_latent(source_BChw: Tensor, noise_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """Equation 2: z_t = sqrt(alpha_t) z_1 + sqrt(1 - alpha_t) epsilon_1."""
    signal, spread = _roots(alpha_B)
    return signal * source_BChw + spread * noise_BChw


def target_noise(noisy_BChw: Tensor, target_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """Equation 3: epsilon_2 = (z_t - sqrt(alpha_t) z_2) / sqrt(1 - alpha_t), the noise that leads from z_t to z_2."""
    signal, spread = _roots(alpha_B)
    return (noisy_BChw - signal * target_BChw) / spread


def clean_latent(noisy_BChw: Tensor, noise_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """Equation 7: z^_1 = (z_t - sqrt(1 - alpha_t) epsilon) / sqrt(alpha_t), the estimate in one step."""
    signal, spread = _roots(alpha_B)
    return (noisy_BChw - spread * noise_BChw) / signal


def noise_of_velocity(noisy_BChw: Tensor, velocity_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """Epsilon of a network that predicts v = sqrt(alpha) epsilon - sqrt(1 - alpha) z (Salimans & Ho 2022)."""
    signal, spread = _roots(alpha_B)
    return signal * velocity_BChw + spread * noisy_BChw


def _roots(alpha_B: Tensor) -> tuple[Tensor, Tensor]:
    alpha_B111 = alpha_B[:, None, None, None]
    return alpha_B111.sqrt(), (1 - alpha_B111).sqrt()
