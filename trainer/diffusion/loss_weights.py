"""Weights of timesteps: how much the squared error of a network's output counts at each noise level.

A weight depends on the signal-to-noise ratio SNR = alpha / (1 - alpha), and on what the network predicts. Owns no error
and draws no timestep.

Source  Hang et al. 2023, Efficient Diffusion Training via Min-SNR Weighting Strategy, section 3.4; Salimans & Ho 2022,
Progressive Distillation, section 4: the error of the clean latent is that of the noise / SNR, and of v / (SNR + 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

# B rows

LossWeights = Literal["plain", "min_snr", "clean"]

CLEAN_CAP = 1000.0
"""Largest weight of `clean`: a guard for schedules that end in pure noise. Stable Diffusion's own reaches 212."""


def loss_weights(kind: LossWeights, alpha_B: Tensor, prediction: str, min_snr_gamma: float) -> Tensor:
    """Weights (B,) of the squared errors of a network that predicts `epsilon` or `v_prediction`.

    | kind    | epsilon               | v_prediction                | what is weighted so                       |
    |---------|-----------------------|-----------------------------|-------------------------------------------|
    | plain   | 1                     | 1                           | the error of the output, as it is         |
    | min_snr | min(1, gamma / SNR)   | min(SNR, gamma) / (SNR + 1) | min(SNR, gamma) x the clean latent's error |
    | clean   | 1 / SNR, at most 1000 | 1 / (SNR + 1)               | the clean latent's error, as it is        |
    """
    if kind == "plain":
        return torch.ones_like(alpha_B)
    snr_B = alpha_B / (1 - alpha_B)
    if prediction == "epsilon":
        return (min_snr_gamma / snr_B).clamp(max=1) if kind == "min_snr" else (1 / snr_B).clamp(max=CLEAN_CAP)
    return (snr_B.clamp(max=min_snr_gamma) if kind == "min_snr" else 1) / (snr_B + 1)
