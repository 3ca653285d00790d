"""The recipe on zoo:sd: what gets gradients, what each switch does, and equation 12 recomputed from the parts."""

import pytest
import torch
from _datasets import write_dataset

from core.errors import UsageError
from samples.shards import read_shards
from trainer.batch import collate
from trainer.config import make_config
from trainer.data import first_samples
from trainer.decode import Decoder
from trainer.diffusion import Diffusion
from trainer.noise import draw
from trainer.recipes.iedit.recipe import IEdit

OFF = {"latent_loss": "none", "global_loss": False, "local_loss": False, "perceptual_loss": False}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    dataset = read_shards(write_dataset(tmp_path_factory.mktemp("data"), (2,)))
    samples = first_samples(dataset, Decoder(size_px=64, needs_masks=True), 2)
    return collate(samples, 16)


@pytest.fixture(scope="module")
def diffusion():
    return Diffusion("zoo:sd", torch.device("cpu"))


def settings(**more):
    given = {"data": "d", "model": "zoo:sd", "out": "o", "clip_model": "zoo:clip", "perceptual_model": "zoo:dino"}
    return make_config(IEdit, {**given, "size_px": 64, **more})


@pytest.fixture(scope="module")
def objective(diffusion):
    return settings().open(diffusion)


def backward(objective, batch, step):
    for name, parameter in objective.parameters.items():
        parameter.grad = None
        parameter.requires_grad_(name in objective.trained_at(step))
    loss, parts = objective.loss(batch)
    loss.backward()
    return loss.detach(), parts


@pytest.mark.parametrize(
    ("step", "trained"), [(0, ("conv_in.", "down_blocks.")), (1, ("mid_block.",)), (2, ("conv_in.", "down_blocks."))]
)
def test_gradients_reach_exactly_the_layers_that_the_step_trains(objective, diffusion, batch, step, trained):
    backward(objective, batch, step)
    for name, parameter in diffusion.unet.named_parameters():
        if name.startswith(trained):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_everything_but_the_unet_is_frozen(objective, diffusion, batch):
    backward(objective, batch, 0)
    frozen = [diffusion.vae, diffusion.pipeline.text_encoder, objective._clip._model, objective._perceptual._model]
    parameters = [parameter for module in frozen for parameter in module.parameters()]
    assert len(parameters) > 100
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in parameters)


def test_without_alternation_both_are_trained_at_every_step(diffusion):
    objective = settings(alternate=False, **OFF | {"latent_loss": "mask"}).open(diffusion)
    assert objective.trained_at(0) == objective.trained_at(1) == frozenset(objective.parameters)
    assert {name.partition(".")[0] for name in objective.parameters} == {"conv_in", "down_blocks", "mid_block"}


def test_each_image_loss_alone_reaches_the_unet(diffusion, batch):
    for switch in ("global_loss", "local_loss", "perceptual_loss"):
        objective = settings(**{**OFF, switch: True}).open(diffusion)
        _, parts = backward(objective, batch, 0)
        assert list(parts) == [switch.removesuffix("_loss")]
        assert all(float(objective.parameters[n].grad.abs().sum()) > 0 for n in objective.trained_at(0))


def test_without_a_phrase_the_local_loss_alone_is_0_and_leaves_the_weights(diffusion, batch):
    from dataclasses import replace

    objective = settings(**{**OFF, "local_loss": True}).open(diffusion)
    loss, _ = backward(objective, replace(batch, target_phrases=("",) * len(batch)), 0)
    assert float(loss.detach()) == 0
    assert all(float(objective.parameters[name].grad.abs().sum()) == 0 for name in objective.trained_at(0))


def test_ldm_loss_asks_for_the_noise_of_the_source_whatever_the_target(diffusion, batch):
    from dataclasses import replace

    def loss_of(kind, given):
        return float(settings(**OFF | {"latent_loss": kind}).open(diffusion).loss(given)[0].detach())

    same = replace(batch, target_BCHW=batch.source_BCHW)
    assert loss_of("ldm", batch) == loss_of("ldm", same) == pytest.approx(loss_of("paired", same), rel=1e-4)
    assert loss_of("paired", batch) > 1.05 * loss_of("ldm", batch)


def test_loss_is_equation_12_of_its_parts(objective, diffusion, batch):
    """One sample, so that means over the batch are the values themselves."""
    one = type(batch)(**{f: v if v is None else v[:1] for f, v in _fields(batch).items()})
    loss, parts = objective.loss(one)
    timestep = int(draw(0, one.number_B, (4, 16, 16), 1000).timestep_B) + 1
    time = timestep / 1000
    expected = (1 - time) * (parts["local"] + parts["global"]) + time * parts["latent"] + 0.1 * parts["perceptual"]
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def _fields(batch):
    return {name: getattr(batch, name) for name in batch.__slots__}


def test_images_are_decoded_only_where_a_loss_looks_at_them(diffusion, batch, monkeypatch):
    monkeypatch.setattr(diffusion, "decode", lambda latent: pytest.fail("decoded"))
    loss, parts = settings(**OFF | {"latent_loss": "paired"}).open(diffusion).loss(batch)
    assert loss.isfinite()
    assert list(parts) == ["latent"]


def test_latents_of_the_dataset_take_the_place_of_the_autoencoder(objective, diffusion, batch, monkeypatch):
    from dataclasses import replace

    both = diffusion.encode(torch.cat([batch.source_BCHW, batch.target_BCHW]))
    given = replace(batch, source_latent_BChw=both[:2], target_latent_BChw=both[2:])
    expected, _ = objective.loss(batch)
    monkeypatch.setattr(diffusion, "encode", lambda image: pytest.fail("encoded"))
    found, _ = objective.loss(given)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize(
    ("more", "needs_masks"),
    [
        ({}, True),
        ({"latent_loss": "paired", "local_loss": False, "perceptual_loss": False}, False),
        ({"latent_loss": "paired", "perceptual_loss": False}, True),
        ({"latent_loss": "ldm", "local_loss": False, "perceptual_loss": False}, False),
        ({"local_loss": False, "perceptual_loss": False}, True),
    ],
)
def test_masks_are_needed_by_three_of_the_losses(more, needs_masks):
    assert settings(**more).needs_masks == needs_masks


def test_models_that_cannot_serve_are_refused_with_their_name(diffusion):
    with pytest.raises(UsageError, match="no model is called 'zoo:vgg'"):
        settings(perceptual_model="zoo:vgg").open(diffusion)
    with pytest.raises(UsageError, match="'zoo:blip' is of kind 'blip', which cannot serve DifferentiableImageText"):
        settings(clip_model="zoo:blip").open(diffusion)
    with pytest.raises(UsageError, match="all its losses off"):
        settings(**OFF).open(diffusion)


def test_default_models_are_pinned_repositories():
    from models.model_ids import find

    default = make_config(IEdit, {"data": "d", "model": "zoo:sd", "out": "o"})
    assert [find(one).scheme for one in (default.clip_model, default.perceptual_model)] == ["hf", "hf"]
