"""The noise schedule of one batch, sampled by the scheduler of a checkpoint or by another with its noise.

A scheduler of diffusers keeps state from step to step, so each batch runs on a copy. Noise comes from the generators of
the rows alone, on the CPU, so that it is the same on every device and beside every neighbour.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

# R rows, C channels of a latent of h w

GLOBAL_NOISE = frozenset({"DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler"})
"""Schedulers that draw noise and take no generator."""
TAKES_SECOND_TWICE = "PNDMScheduler"
"""The scheduler of SD 1.x, without Runge-Kutta steps. Run from the middle of its list, it would leave noise behind."""


class Schedule:
    """The steps of one batch, and the noise of its rows. Noise is drawn in order: the first latents, then the steps."""

    def __init__(self, scheduler: Any, *, num_steps: int, num_run: int, device: Any) -> None:
        self._scheduler = copy.deepcopy(scheduler)
        self._scheduler.set_timesteps(num_steps, device=device)
        start = (num_steps - num_run) * self._scheduler.order
        self.timesteps: Any = _left(self._scheduler, start)
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(start)
        self.is_whole = num_run == num_steps
        """True when the steps start from noise alone."""
        self._draws = "generator" in inspect.signature(self._scheduler.step).parameters

    def __len__(self) -> int:
        """Number of calls of the network."""
        return len(self.timesteps)

    def pure(self, noise_RChw: Any) -> Any:
        """Noise at the level of the very first step."""
        return noise_RChw * self._scheduler.init_noise_sigma

    def noised(self, latent_RChw: Any, noise_RChw: Any, step: int) -> Any:
        """Latents with the noise that they have before a step. After the last step they have none."""
        if step == len(self.timesteps):
            return latent_RChw
        timesteps_R = self.timesteps[step].expand(len(latent_RChw))
        return self._scheduler.add_noise(latent_RChw, noise_RChw, timesteps_R)

    def scaled(self, latent_RChw: Any, step: int) -> Any:
        """Latents as the network takes them at a step."""
        return self._scheduler.scale_model_input(latent_RChw, self.timesteps[step])

    def stepped(self, output_RChw: Any, latent_RChw: Any, step: int, drawn: list[Any]) -> Any:
        """Latents after a step."""
        more = {"generator": drawn} if self._draws else {}
        return self._scheduler.step(output_RChw, self.timesteps[step], latent_RChw, **more, return_dict=False)[0]


def _left(scheduler: Any, start: int) -> Any:
    """Timesteps after the first `start`. PNDM runs the second step of any run twice, wherever the run begins."""
    import torch

    timesteps = scheduler.timesteps
    if start == 0 or type(scheduler).__name__ != TAKES_SECOND_TWICE:
        return timesteps[start:]
    once = torch.cat([timesteps[:1], timesteps[2:]])[start:]
    return torch.cat([once[:2], once[1:]])
