"""The schedule against diffusers' own scheduler."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from core.errors import UsageError
from trainer.diffusion.schedule import Schedule, noise_of_velocity, noised, velocity_of_noise

OPTIONS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
SCHEDULER = DDPMScheduler(**OPTIONS)
CPU = torch.device("cpu")
TIMESTEP_B = torch.tensor([0, 99, 500, 999])
ALPHA_B = SCHEDULER.alphas_cumprod[TIMESTEP_B]


def latents(number):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, 4, 4, 3, 3, generator=generator)


def test_alphas_are_the_schedulers_and_nothing_is_clipped():
    schedule = Schedule(SCHEDULER, "m", CPU)
    torch.testing.assert_close(schedule.alpha(TIMESTEP_B), ALPHA_B)
    assert schedule.num_timesteps == 1000


def test_noised_latent_is_what_the_schedulers_add_noise_gives():
    source, noise = latents(2)
    expected = SCHEDULER.add_noise(source, noise, TIMESTEP_B)
    torch.testing.assert_close(noised(source, noise, ALPHA_B), expected, atol=1e-6, rtol=1e-6)


def test_velocity_is_turned_into_noise_and_back():
    source, noise = latents(2)
    noisy, velocity = noised(source, noise, ALPHA_B), SCHEDULER.get_velocity(source, noise, TIMESTEP_B)
    torch.testing.assert_close(noise_of_velocity(noisy, velocity, ALPHA_B), noise, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(velocity_of_noise(noisy, noise, ALPHA_B), velocity, atol=1e-4, rtol=1e-4)


def test_output_of_the_network_is_read_as_it_predicts():
    noisy, out = latents(2)
    assert Schedule(SCHEDULER, "m", CPU).noise_in(out, noisy, TIMESTEP_B) is out
    other = Schedule(DDPMScheduler(**OPTIONS, prediction_type="v_prediction"), "m", CPU)
    assert torch.equal(other.noise_in(out, noisy, TIMESTEP_B), noise_of_velocity(noisy, out, ALPHA_B))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_clean_latent_in_an_output_is_diffusers_original_sample(prediction):
    noisy, out = latents(2)
    scheduler = DDIMScheduler(**OPTIONS, prediction_type=prediction)
    scheduler.set_timesteps(1000)
    found = Schedule(scheduler, "m", CPU).clean_in(out, noisy, TIMESTEP_B)
    for row, timestep in enumerate(TIMESTEP_B.tolist()):
        expected = scheduler.step(out[row], timestep, noisy[row]).pred_original_sample
        torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_output_that_is_asked_for_means_the_clean_latent_itself(prediction):
    source, noise = latents(2)
    schedule = Schedule(DDPMScheduler(**OPTIONS, prediction_type=prediction), "m", CPU)
    noisy = noised(source, noise, ALPHA_B)
    found = schedule.clean_in(schedule.target(source, noise, TIMESTEP_B), noisy, TIMESTEP_B)
    torch.testing.assert_close(found, source, atol=1e-4, rtol=1e-4)


def test_schedule_without_alphas_or_of_another_prediction_is_refused():
    with pytest.raises(UsageError, match="model 'm' has the scheduler object, which has no alphas_cumprod; name anot"):
        Schedule(object(), "m", CPU)
    with pytest.raises(UsageError, match="predicts 'sample'; its losses are known for epsilon and v_prediction"):
        Schedule(DDPMScheduler(**OPTIONS, prediction_type="sample"), "m", CPU)
