"""The noise schedule of a checkpoint, and the way between latent, noise and velocity.

Alpha is DDIM's, the cumulative product. Owns no loss and draws nothing: timesteps and noise are handed in.

Source  Ho et al. 2020, DDPM; Salimans & Ho 2022 for the velocity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

# B rows, T timesteps, C channels, h w cells of a latent

PREDICTIONS = ("epsilon", "v_prediction")


class Schedule:
    """Alphas of the timestep indices 0 to T - 1 on one device, and the quantity that the network predicts."""

    def __init__(self, scheduler: Any, model_id: str, device: torch.device) -> None:
        """Read a scheduler of diffusers. Raises UsageError for one without alphas, or of another prediction."""
        alpha_T = getattr(scheduler, "alphas_cumprod", None)
        if alpha_T is None:
            name = type(scheduler).__name__
            raise UsageError(f"model {model_id!r} has the scheduler {name}, which has no alphas_cumprod; name another")
        self.prediction = str(scheduler.config.prediction_type)
        if self.prediction not in PREDICTIONS:
            raise UsageError(
                f"model {model_id!r} predicts {self.prediction!r}; its losses are known for epsilon and v_prediction"
            )
        self.alpha_T: Tensor = torch.as_tensor(alpha_T, dtype=torch.float32).to(device)
        self.num_timesteps = len(self.alpha_T)

    def alpha(self, timestep_B: Tensor) -> Tensor:
        """Alpha of timestep indices: (B,)."""
        return self.alpha_T[timestep_B]

    def target(self, latent_BChw: Tensor, noise_BChw: Tensor, timestep_B: Tensor) -> Tensor:
        """The output that the network should give for a latent to which `noise_BChw` was added."""
        if self.prediction == "epsilon":
            return noise_BChw
        signal, spread = roots(self.alpha(timestep_B))
        return signal * noise_BChw - spread * latent_BChw

    def noise_in(self, predicted_BChw: Tensor, noisy_BChw: Tensor, timestep_B: Tensor) -> Tensor:
        """Epsilon in the network's output: the output itself, or converted from the velocity."""
        if self.prediction == "epsilon":
            return predicted_BChw
        return noise_of_velocity(noisy_BChw, predicted_BChw, self.alpha(timestep_B))

    def clean_in(self, predicted_BChw: Tensor, noisy_BChw: Tensor, timestep_B: Tensor) -> Tensor:
        """The clean latent that the network's output implies: the estimate in one step."""
        alpha_B = self.alpha(timestep_B)
        if self.prediction == "epsilon":
            return clean_latent(noisy_BChw, predicted_BChw, alpha_B)
        signal, spread = roots(alpha_B)
        return signal * noisy_BChw - spread * predicted_BChw


def noised(latent_BChw: Tensor, noise_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """The latent at a timestep: z_t = sqrt(alpha_t) z + sqrt(1 - alpha_t) epsilon."""
    signal, spread = roots(alpha_B)
    return signal * latent_BChw + spread * noise_BChw


def clean_latent(noisy_BChw: Tensor, noise_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """The clean latent for a known or predicted noise: z = (z_t - sqrt(1 - alpha_t) epsilon) / sqrt(alpha_t)."""
    signal, spread = roots(alpha_B)
    return (noisy_BChw - spread * noise_BChw) / signal


def noise_of_velocity(noisy_BChw: Tensor, velocity_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """Epsilon of a network that predicts v = sqrt(alpha) epsilon - sqrt(1 - alpha) z."""
    signal, spread = roots(alpha_B)
    return signal * velocity_BChw + spread * noisy_BChw


def velocity_of_noise(noisy_BChw: Tensor, noise_BChw: Tensor, alpha_B: Tensor) -> Tensor:
    """The velocity v of a network that predicts epsilon, for `alpha` above 0."""
    signal, spread = roots(alpha_B)
    return (noise_BChw - spread * noisy_BChw) / signal


def roots(alpha_B: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(alpha) and sqrt(1 - alpha), each (B, 1, 1, 1)."""
    alpha_B111 = alpha_B[:, None, None, None]
    return alpha_B111.sqrt(), (1 - alpha_B111).sqrt()
