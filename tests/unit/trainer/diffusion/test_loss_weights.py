"""Weights against diffusers' signal-to-noise ratio and the closed forms of the errors."""

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from trainer.diffusion.loss_weights import loss_weights

SCHEDULER = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
TIMESTEP_B = torch.tensor([0, 99, 300, 500, 999])
ALPHA_B = SCHEDULER.alphas_cumprod[TIMESTEP_B]
SNR_B = compute_snr(SCHEDULER, TIMESTEP_B)


def test_plain_weights_are_ones():
    assert loss_weights("plain", ALPHA_B, "epsilon", 5.0).tolist() == [1.0] * 5


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_the_papers(gamma):
    least_B = torch.stack([SNR_B, torch.full_like(SNR_B, gamma)]).min(0).values
    torch.testing.assert_close(loss_weights("min_snr", ALPHA_B, "epsilon", gamma), least_B / SNR_B)
    torch.testing.assert_close(loss_weights("min_snr", ALPHA_B, "v_prediction", gamma), least_B / (SNR_B + 1))


def test_clean_weights_turn_errors_into_those_of_the_clean_latent():
    signal, spread = ALPHA_B.sqrt(), (1 - ALPHA_B).sqrt()
    clean, noise, error = torch.full((5,), 0.7), torch.full((5,), -0.4), 0.3
    noisy = signal * clean + spread * noise
    from_noise = (noisy - spread * (noise + error)) / signal
    from_velocity = signal * noisy - spread * (signal * noise - spread * clean + error)
    for prediction, found in (("epsilon", from_noise), ("v_prediction", from_velocity)):
        weight_B = loss_weights("clean", ALPHA_B, prediction, 5.0)
        torch.testing.assert_close(weight_B * error**2, (found - clean) ** 2, rtol=1e-3, atol=1e-6)


def test_weights_are_finite_where_all_is_noise_and_where_none_is():
    alpha_B = torch.tensor([0.0, 1.0])
    assert loss_weights("clean", alpha_B, "epsilon", 5.0).tolist() == [1000.0, 0.0]
    assert loss_weights("clean", alpha_B, "v_prediction", 5.0).tolist() == [1.0, 0.0]
    assert loss_weights("min_snr", alpha_B, "epsilon", 5.0).tolist() == [1.0, 0.0]
    assert loss_weights("min_snr", alpha_B, "v_prediction", 5.0).tolist() == [0.0, 0.0]
