"""Reads a noised source as a noised target: equation 3 of iEdit, and the draws of a sample.

Equations 2 and 7 are `noised` and `clean_latent` of `trainer.diffusion.schedule`.

Source  arXiv 2305.05947, section 3; alpha is DDIM's, the cumulative product.

Nothing is guarded silently. Equation 3 divides by sqrt(1 - alpha), equation 7 by sqrt(alpha): with Stable Diffusion's
schedule epsilon_2 - epsilon_1 = sqrt(alpha / (1 - alpha)) (z_1 - z_2) is 34 times the latents' difference at the first
timestep, 2.9 times at the hundredth, 0.4 times at the six hundredth. The weight t/T of equation 12 bounds what that
squares to (1175 at t = 1 becomes 1.2); the unweighted loss of equation 4 is left to grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from core.errors import UsageError
from trainer.diffusion.schedule import roots
from trainer.draws import generator_of

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.diffusion.schedule import Schedule
    from trainer.draws import Draws

# B rows, C channels, h w cells of a latent


class Drawn(NamedTuple):
    """The timestep index (0 to T - 1, int64) and the noise epsilon_1 of each sample."""

    timestep_B: Tensor
    noise_BChw: Tensor


def draw_timestep_and_noise(draws: Draws, shape_Chw: tuple[int, ...], num_timesteps: int) -> Drawn:
    """Timestep, uniform, and standard normal noise of each sample, on the CPU.

    Both come from one generator, seeded by seed and sample number without a name: iEdit was trained so before draws had
    names, and its published numbers (docs/benchmarks.md) are to be repeated to the bit. New recipes draw by name.
    """
    generators = [generator_of(f"{draws.seed}/{number}") for number in draws.number_B.tolist()]
    pairs = [
        (torch.randint(num_timesteps, (), generator=one), torch.randn(shape_Chw, generator=one)) for one in generators
    ]
    return Drawn(torch.stack([timestep for timestep, _ in pairs]), torch.stack([noise for _, noise in pairs]))


def check_schedule(schedule: Schedule, model_id: str) -> None:
    """Raise UsageError for a schedule by which equations 3 and 7 cannot divide."""
    if not bool(((schedule.alpha_T > 0) & (schedule.alpha_T < 1)).all()):
        raise UsageError(
            f"model {model_id!r} has timesteps of pure noise or of none, by which equations 3 and 7 cannot divide"
        )


def target_noise(noisy_BChw: Tensor, target_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """Equation 3: epsilon_2 = (z_t - sqrt(alpha_t) z_2) / sqrt(1 - alpha_t), the noise that leads from z_t to z_2."""
    signal, spread = roots(alpha_B)
    return (noisy_BChw - signal * target_BChw) / spread
