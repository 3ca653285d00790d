"""The passes with a network of one line, against diffusers' DDIM."""

from contextlib import nullcontext

import pytest
import torch
from diffusers import DDIMScheduler

from trainer.diffusion.schedule import Schedule
from trainer.recipes.uip2p.cycle import Noise, denoised, one_step, straight_through

OPTIONS = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False,
}  # fmt: skip
PREDICTIONS = ("epsilon", "v_prediction")
TIMESTEP_B = torch.tensor([750, 300, 0])
SHAPE = (3, 2, 4, 4)


def drawn(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


SOURCE, NOISE, SEEN = (drawn(seed) for seed in range(3))


def predicted(input_BChw, timestep_B, text):
    """A network that depends on all that it takes, and is no noise or velocity of anything."""
    noisy_BChw, seen_BChw = input_BChw.chunk(2, 1)
    return torch.tanh(0.7 * noisy_BChw + 0.2 * seen_BChw + (timestep_B / 500 + text)[:, None, None, None])


class Line:
    """Networks whose latents are scaled by a quarter; `seen` are the calls of `predict`."""

    def __init__(self, prediction):
        self.scheduler = DDIMScheduler(**OPTIONS, prediction_type=prediction)
        self.schedule = Schedule(self.scheduler, "m", torch.device("cpu"))
        self.seen = []

    def predict(self, input_BChw, timestep_B, texts):
        self.seen.append((input_BChw, timestep_B))
        return predicted(input_BChw, timestep_B, texts)

    def unscaled(self, latent_BChw):
        return 4 * latent_BChw

    def recording(self):
        return nullcontext({"layer": "map"})


def original(networks, output, timestep, noisy, num_inference_steps):
    """What diffusers makes of an output: (sample of the next step, estimate of the clean one)."""
    networks.scheduler.set_timesteps(num_inference_steps)
    stepped = networks.scheduler.step(output, timestep, noisy, eta=0.0)
    return stepped.prev_sample, stepped.pred_original_sample


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_pass_is_one_prediction_read_as_a_clean_latent(prediction):
    networks = Line(prediction)
    found = one_step(networks, SOURCE, SEEN, Noise(TIMESTEP_B, NOISE), 0.1)
    noisy = networks.scheduler.add_noise(SOURCE, NOISE, TIMESTEP_B)
    torch.testing.assert_close(found.noisy_BChw, noisy)
    ((given, timestep_B),) = networks.seen
    torch.testing.assert_close(given, torch.cat([noisy, 4 * SEEN], 1))
    assert torch.equal(timestep_B, TIMESTEP_B)
    assert found.maps == {"layer": "map"}
    for row, timestep in enumerate(TIMESTEP_B.tolist()):
        output = predicted(given, TIMESTEP_B, 0.1)[row]
        _, expected = original(networks, output, timestep, noisy[row], 1000)
        torch.testing.assert_close(found.clean_BChw[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("timestep", "num_steps"), [(750, 3), (300, 3), (600, 6), (500, 1)])
def test_few_steps_are_those_of_diffusers_ddim(prediction, timestep, num_steps):
    """A step of DDIM goes from t to t - 1000 / its number of steps."""
    networks = Line(prediction)
    timestep_B = torch.full((3,), timestep)
    noisy = networks.scheduler.add_noise(SOURCE, NOISE, timestep_B)
    found = denoised(networks, noisy, SEEN, timestep_B, 0.1, num_steps)
    length = timestep // num_steps
    for time in range(timestep, 0, -length):
        output = predicted(torch.cat([noisy, 4 * SEEN], 1), torch.full((3,), time), 0.1)
        noisy, expected = original(networks, output, time, noisy, 1000 // length)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_rows_are_denoised_from_their_own_timesteps_on():
    networks = Line("epsilon")
    noisy = networks.scheduler.add_noise(SOURCE, NOISE, TIMESTEP_B)
    together = denoised(networks, noisy, SEEN, TIMESTEP_B, 0.1, 4)
    assert [time.tolist() for _, time in networks.seen] == [[750, 300, 0], [562, 225, 0], [375, 150, 0], [187, 75, 0]]
    for row in range(3):
        one = slice(row, row + 1)
        alone = denoised(networks, noisy[one], SEEN[one], TIMESTEP_B[one], 0.1, 4)
        torch.testing.assert_close(together[one], alone)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_one_step_of_few_is_the_estimate_in_one_step(prediction):
    networks = Line(prediction)
    found = one_step(networks, SOURCE, SEEN, Noise(TIMESTEP_B, NOISE), 0.1)
    alone = denoised(networks, found.noisy_BChw, SEEN, TIMESTEP_B, 0.1, 1)
    torch.testing.assert_close(alone, found.clean_BChw)


def test_few_steps_have_no_gradient_and_one_step_has():
    networks = Line("epsilon")
    source = SOURCE.clone().requires_grad_()
    found = one_step(networks, source, source, Noise(TIMESTEP_B, NOISE), 0.1)
    assert found.clean_BChw.requires_grad
    assert not denoised(networks, found.noisy_BChw, source, TIMESTEP_B, 0.1, 2).requires_grad


def test_straight_through_has_one_value_and_the_other_gradient():
    value, source = SOURCE.clone().requires_grad_(), NOISE.clone().requires_grad_()
    found = straight_through(value, source)
    torch.testing.assert_close(found, value, atol=1e-6, rtol=1e-6)
    (3 * found).sum().backward()
    assert value.grad is None
    assert torch.equal(source.grad, torch.full(SHAPE, 3.0))
