"""The gradient of each loss, alone, against central differences in double precision, through the whole objective.

What is differentiated goes through both passes of the UNet, its attention maps, the decoder and a fake of CLIP.
"""

import zlib
from functools import partial

import pytest
import torch
from _checkpoints import save_pix2pix, save_stable_diffusion, save_stable_diffusion_2
from _cycle_edits import CTX, NO_DROPOUT, OFF, ONLY, first_batch, settings, stir, trained
from torch.nn import functional

from models.diffusion.text_conditions import TextCondition
from trainer.diffusion.editors import OpenedEditor, open_editor
from trainer.diffusion.schedule import noised
from trainer.draws import Draws
from trainer.recipes.uip2p import objective as under_test
from trainer.recipes.uip2p.cycle import OneStep, denoised, one_step, straight_through
from trainer.recipes.uip2p.objective import Uip2pObjective

pytestmark = pytest.mark.usefixtures("one_thread")

STEP = 3e-5
"""Length of a step along a direction of length 1."""
DIRECTIONS = 3
DROPPED = {"text_dropout": 0.3, "image_dropout": 0.3, "both_dropout": 0.4}
CASES = {
    **{name: {**NO_DROPOUT, **OFF, **more} for name, more in ONLY.items()},
    "attention, l2": {**NO_DROPOUT, **OFF, "lambda_attn": 1.0, "norm": "l2"},
    "reconstruction, l2": {**NO_DROPOUT, **OFF, "lambda_recon": 1.0, "norm": "l2"},
    "dropped": {**OFF, **DROPPED},
}


class Double:
    """A Checkpoint in double precision, which is its own `Latents`."""

    def __init__(self, checkpoint):
        self._checkpoint, self.latents, self.factor = checkpoint, self, checkpoint.latents.factor
        checkpoint.unet.double()
        checkpoint.pipeline.vae.double()
        checkpoint.schedule.alpha_T = checkpoint.schedule.alpha_T.double()

    def __getattr__(self, name):
        return getattr(self._checkpoint, name)

    def predict(self, noisy_BChw, timestep_B, texts):
        return self.unet(noisy_BChw, timestep_B, texts.tokens_BLD).sample

    def encode_texts(self, texts):
        return TextCondition(self._checkpoint.encode_texts(texts).tokens_BLD.double())

    def encode(self, image_BCHW):
        return (
            self.pipeline.vae.encode(image_BCHW.double()).latent_dist.mode() * self.pipeline.vae.config.scaling_factor
        )

    def unscaled(self, latent_BChw):
        return latent_BChw / self.pipeline.vae.config.scaling_factor

    def decode(self, latent_BChw):
        return self.pipeline.vae.decode(self.unscaled(latent_BChw)).sample


class Clip:
    """Images by their means over 4 x 4 parts, texts by their hash."""

    def image_emb(self, image_BCHW):
        weights = torch.randn(48, 8, generator=torch.Generator().manual_seed(0)).double()
        parts_BD = functional.adaptive_avg_pool2d(image_BCHW.double(), 4).flatten(1)
        return functional.normalize(torch.tanh(parts_BD @ weights), dim=-1)

    def text_emb(self, texts):
        seeds = [zlib.crc32(text.encode()) for text in texts]
        drawn = [torch.randn(8, generator=torch.Generator().manual_seed(seed)).double() for seed in seeds]
        return functional.normalize(torch.stack(drawn), dim=-1)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    return first_batch(tmp_path_factory.mktemp("data"), 3, size_px=32)


@pytest.fixture(scope="module", params=["text-to-image of velocities", "editor of noise"])
def opened(request, tmp_path_factory):
    """(checkpoint in double precision, kind): two architectures, two predictions, two ways to start."""
    folder = tmp_path_factory.mktemp("model")
    if request.param == "editor of noise":
        save_pix2pix(folder / "m", save_stable_diffusion(folder / "base"))
    else:
        save_stable_diffusion_2(folder / "m")
    checkpoint, kind = open_editor(settings(model=f"path:{folder / 'm'}", size_px=32), CTX)
    return Double(checkpoint), kind


@pytest.fixture
def made(opened):
    """Called with settings: the objective, its UNet as `stir` leaves it."""
    checkpoint, kind = opened
    plain, weights = checkpoint.unet.attn_processors, checkpoint.unet.state_dict()
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    yield lambda **more: stir(Uip2pObjective(settings(size_px=32, **more), OpenedEditor(checkpoint, kind), Clip()))
    checkpoint.unet.load_state_dict(weights)
    checkpoint.unet.set_attn_processor(plain)


def total(objective, batch, seed):
    return objective.loss(batch, Draws(seed, batch.number_B))[0]


def gradient(objective, batch, seed):
    """Name -> gradient of the loss."""
    parameters = trained(objective)
    found = torch.autograd.grad(total(objective, batch, seed), list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def directions(objective):
    """Directions of length 1 in the space of all parameters: name -> part."""
    for seed in range(DIRECTIONS):
        generator = torch.Generator().manual_seed(seed)
        parts = {
            name: torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / parameter.numel() ** 0.5
            for name, parameter in trained(objective).items()
        }
        length = sum(float(part.square().sum()) for part in parts.values()) ** 0.5
        yield {name: part / length for name, part in parts.items()}


@torch.no_grad()
def moved(objective, direction, length):
    for name, parameter in trained(objective).items():
        parameter.add_(direction[name], alpha=length)


def slope(objective, direction, loss):
    """Central difference of `loss()` along a direction. Maps are recorded with gradients enabled only."""
    values = []
    for length in (STEP, -2 * STEP):
        moved(objective, direction, length)
        values.append(float(loss().detach()))
    moved(objective, direction, STEP)
    return (values[0] - values[1]) / (2 * STEP)


def along(gradients, direction):
    return sum(float((gradients[name] * part).sum()) for name, part in direction.items())


def seed_for(objective, batch):
    """A seed with which the samples lose what they can: one its text, one its image, one both."""
    if not objective._settings.text_dropout:
        return 0
    for seed in range(1000):
        dropped = objective._dropout.dropped(Draws(seed, batch.number_B).uniform("dropout"))
        if len(set(zip(dropped.text_B.tolist(), dropped.image_B.tolist(), strict=True))) == len(batch):
            return seed
    raise AssertionError


@pytest.mark.parametrize("case", CASES)
def test_gradient_of_each_loss_is_its_central_difference(made, batch, case):
    objective = made(**CASES[case])
    seed = seed_for(objective, batch)
    _, parts = objective.loss(batch, Draws(seed, batch.number_B))
    assert list(parts) == [case.removesuffix(", l2")]
    gradients = gradient(objective, batch, seed)
    for direction in directions(objective):
        found = slope(objective, direction, partial(total, objective, batch, seed))
        assert along(gradients, direction) == pytest.approx(found, rel=1e-5)


CLEAN = {**NO_DROPOUT, **OFF, "lambda_attn": 0.5, "lambda_recon": 1.0, "clean_cycle_condition": True, "clean_steps": 3}


def unet_inputs(objective, batch):
    """(input, timestep, text) of each call of the UNet in a loss."""
    seen = []
    hook = objective.modules["unet"].register_forward_pre_hook(lambda _, args: seen.append(args))
    total(objective, batch, 0)
    hook.remove()
    return seen


def test_reverse_pass_sees_the_edit_in_few_steps_and_denoises_the_estimate(made, batch):
    objective = made(**CLEAN)
    (first, timestep_B, text), *_, (last, back_B, _) = unet_inputs(objective, batch)
    start, source = first.chunk(2, 1)[0], objective._source(batch)
    clean, estimate = (denoised(objective, start, source, timestep_B, TextCondition(text), steps) for steps in (3, 1))
    assert (estimate - clean).abs().max() > 0.01 * clean.abs().max()
    noisy, seen = last.chunk(2, 1)
    torch.testing.assert_close(seen, objective.unscaled(clean))
    noise = Draws(0, batch.number_B).normal("reverse_noise", source.shape[1:])
    torch.testing.assert_close(noisy, noised(estimate, noise, objective.schedule.alpha(back_B)))


def test_gradient_of_the_clean_condition_is_that_of_the_one_step_estimate(made, batch, monkeypatch):
    """The estimate, moved to the value of the edit in few steps, is what is differentiated."""
    objective, kept = made(**CLEAN), []
    monkeypatch.setattr(
        under_test, "straight_through",
        lambda value, source: kept.append((value - source).detach()) or straight_through(value, source),
    )  # fmt: skip
    gradients = gradient(objective, batch, 0)
    loss = partial(total, objective, batch, 0)
    true_slopes = [slope(objective, direction, loss) for direction in directions(objective)]
    (shift,) = kept[:1]
    monkeypatch.setattr(under_test, "straight_through", lambda _, source: source + shift)
    for direction, true_slope in zip(directions(objective), true_slopes, strict=True):
        found = along(gradients, direction)
        assert found == pytest.approx(slope(objective, direction, loss), rel=1e-5)
        assert found != pytest.approx(true_slope, rel=1e-3)


def cut(call):
    """`one_step` whose result has no gradient at the first (0) or second (1) call of a loss."""
    calls = []

    def step(*given):
        found = one_step(*given)
        calls.append(found)
        if len(calls) - 1 != call:
            return found
        maps = {name: one.detach() for name, one in found.maps.items()}
        return OneStep(found.noisy_BChw.detach(), found.clean_BChw.detach(), maps)

    return step


@pytest.mark.parametrize(("case", "call"), [("attention", 0), ("attention", 1), ("reconstruction", 0)])
def test_gradient_of_losses_of_the_cycle_reaches_both_passes(made, batch, monkeypatch, case, call):
    objective = made(**CASES[case])
    whole = gradient(objective, batch, 0)
    monkeypatch.setattr(under_test, "one_step", cut(call))
    partly = gradient(objective, batch, 0)

    def size(gradients):
        return sum(float(one.square().sum()) for one in gradients.values()) ** 0.5

    assert size(partly) > 0.01 * size(whole)
    assert size({name: one - partly[name] for name, one in whole.items()}) > 0.01 * size(whole)
