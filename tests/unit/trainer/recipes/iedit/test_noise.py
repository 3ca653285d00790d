"""Equations 2, 3 and 7 against straight numpy, and the draws that keep iEdit's numbers."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from core.errors import UsageError
from trainer.diffusion.schedule import Schedule, clean_latent
from trainer.diffusion.schedule import noised as noisy_latent
from trainer.draws import Draws
from trainer.recipes.iedit.noise import check_schedule, draw_timestep_and_noise, target_noise

SCHEDULER = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
TIMESTEP_B = torch.tensor([0, 99, 500, 999])
ALPHA_B = SCHEDULER.alphas_cumprod[TIMESTEP_B]


def latents(number):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, 4, 4, 3, 3, generator=generator)


def test_equations_2_3_and_7_are_those_of_the_paper_in_numpy():
    source, target, noise = latents(3)
    alpha = ALPHA_B.numpy()[:, None, None, None].astype(np.float64)
    z1, z2, e1 = (one.numpy().astype(np.float64) for one in (source, target, noise))
    noisy = np.sqrt(alpha) * z1 + np.sqrt(1 - alpha) * e1
    e2 = (noisy - np.sqrt(alpha) * z2) / np.sqrt(1 - alpha)
    clean = (noisy - np.sqrt(1 - alpha) * e2) / np.sqrt(alpha)
    found = noisy_latent(source, noise, ALPHA_B)
    np.testing.assert_allclose(found, noisy, atol=1e-5)
    np.testing.assert_allclose(target_noise(found, target, ALPHA_B), e2, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(clean_latent(found, torch.from_numpy(e2).float(), ALPHA_B), clean, rtol=1e-3, atol=1e-4)


def test_noise_towards_the_target_is_the_sources_own_when_both_are_equal():
    source, noise = latents(2)
    noisy = noisy_latent(source, noise, ALPHA_B)
    torch.testing.assert_close(target_noise(noisy, source, ALPHA_B), noise, atol=1e-4, rtol=1e-4)


def test_estimate_with_the_noise_towards_the_target_is_the_target():
    source, target, noise = latents(3)
    noisy = noisy_latent(source, noise, ALPHA_B)
    found = clean_latent(noisy, target_noise(noisy, target, ALPHA_B), ALPHA_B)
    torch.testing.assert_close(found, target, atol=1e-4, rtol=1e-4)


def test_weight_bounds_the_noise_that_grows_at_low_timesteps():
    """The numbers in the module's docstring: alpha / (1 - alpha) and its product with t/T."""
    alpha = SCHEDULER.alphas_cumprod
    ratio = alpha / (1 - alpha)
    assert [round(float(ratio[t]), 1) for t in (0, 99, 599)] == [1175.4, 8.6, 0.2]
    weighted = ratio * (torch.arange(1000) + 1) / 1000
    assert 1.1 < float(weighted.max()) < 1.3


def draw(seed, number_B, shape, num_timesteps):
    return draw_timestep_and_noise(Draws(seed, number_B), shape, num_timesteps)


def test_what_is_drawn_for_a_sample_depends_on_seed_and_number_alone():
    together = draw(1, torch.tensor([5, 6, 7]), (4, 2, 2), 1000)
    alone = draw(1, torch.tensor([6]), (4, 2, 2), 1000)
    assert torch.equal(together.noise_BChw[1:2], alone.noise_BChw)
    assert torch.equal(together.timestep_B[1:2], alone.timestep_B)
    assert not torch.equal(draw(2, torch.tensor([6]), (4, 2, 2), 1000).noise_BChw, alone.noise_BChw)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_standard_normal_and_timesteps_are_uniform(seed):
    drawn = draw(seed, torch.arange(2000), (4, 2, 2), 10)
    assert abs(float(drawn.noise_BChw.mean())) < 0.02
    assert abs(float(drawn.noise_BChw.std()) - 1) < 0.02
    counts = np.bincount(drawn.timestep_B, minlength=10)
    assert len(counts) == 10
    assert (abs(counts - 200) < 60).all()


def test_timestep_and_noise_are_those_of_the_first_trainings():
    """From before draws had names: published numbers of iEdit rest on them."""
    drawn = draw(3, torch.tensor([0, 1, 12345]), (1, 1, 2), 1000)
    assert drawn.timestep_B.tolist() == [992, 694, 171]
    torch.testing.assert_close(
        drawn.noise_BChw[:, 0, 0],
        torch.tensor([[1.205823, 0.315156], [0.395062, 0.543654], [-2.413647, 0.110688]]),
        atol=1e-5,
        rtol=1e-5,
    )


def test_schedule_by_which_the_equations_divide_by_zero_is_refused():
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    zero = Schedule(DDPMScheduler(**options, rescale_betas_zero_snr=True), "m", torch.device("cpu"))
    with pytest.raises(UsageError, match="model 'm' has timesteps of pure noise or of none, by which equations 3 and"):
        check_schedule(zero, "m")
    check_schedule(Schedule(SCHEDULER, "m", torch.device("cpu")), "m")
