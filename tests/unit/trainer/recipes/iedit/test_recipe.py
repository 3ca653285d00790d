"""The recipe on zoo:sd: what gets gradients, what each switch does, and equation 12 recomputed from the parts."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from _datasets import write_dataset

from core.errors import ModelError, UsageError
from models.schemes.zoo import ZOO
from samples.shards import read_shards
from trainer.batch import collate
from trainer.data import first_samples
from trainer.decode import Decoder
from trainer.diffusion.checkpoint import Checkpoint
from trainer.draws import Draws
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.iedit.noise import draw_timestep_and_noise
from trainer.recipes.iedit.recipe import MASKS, IEdit

pytestmark = pytest.mark.usefixtures("one_thread")

CTX = TrainContext(device=torch.device("cpu"))
DECODER = Decoder(size_px=64, required=(*IEdit.reads, *MASKS), optional=IEdit.reads_if_present)
OFF = {"latent_loss": "none", "global_loss": False, "local_loss": False, "perceptual_loss": False}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    dataset = read_shards(write_dataset(tmp_path_factory.mktemp("data"), (2,)))
    return collate(first_samples(dataset, DECODER, 2), DECODER, "recipe iedit")


@pytest.fixture(scope="module")
def checkpoint():
    return Checkpoint("zoo:sd", CTX)


@pytest.fixture(autouse=True)
def _loaded_once(checkpoint, monkeypatch):
    monkeypatch.setattr("trainer.recipes.iedit.recipe.Checkpoint", lambda model, ctx: checkpoint)


def settings(**more):
    given = {"data": "d", "model": "zoo:sd", "out": "o", "clip_model": "zoo:clip", "perceptual_model": "zoo:dino"}
    return make_recipe(IEdit, {**given, "size_px": 64, **more})


@pytest.fixture
def objective(_loaded_once):
    return settings().open(CTX)


def parameters(objective):
    known = dict(objective.modules["unet"].named_parameters())
    return {name: known[name.removeprefix("unet.")] for group in objective.groups for name in group.names}


def loss_of(objective, batch):
    return objective.loss(batch, Draws(0, batch.number_B))


def changed(batch, **columns):
    return replace(batch, columns={**batch.columns, **columns})


def backward(objective, batch, step):
    for name, parameter in parameters(objective).items():
        parameter.grad = None
        parameter.requires_grad_(name in objective.trained_at(step))
    loss, parts = loss_of(objective, batch)
    loss.backward()
    return loss.detach(), parts


@pytest.mark.parametrize(
    ("step", "trained"), [(0, ("conv_in.", "down_blocks.")), (1, ("mid_block.",)), (2, ("conv_in.", "down_blocks."))]
)
def test_gradients_reach_exactly_the_layers_that_the_step_trains(objective, checkpoint, batch, step, trained):
    backward(objective, batch, step)
    for name, parameter in checkpoint.unet.named_parameters():
        if name.startswith(trained):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_everything_but_the_unet_is_frozen(objective, checkpoint, batch):
    backward(objective, batch, 0)
    frozen = [
        checkpoint.pipeline.vae,
        checkpoint.pipeline.text_encoder,
        objective._clip._model,
        objective._perceptual._model,
    ]
    parameters = [parameter for module in frozen for parameter in module.parameters()]
    assert len(parameters) > 100
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in parameters)


def test_without_alternation_both_are_trained_at_every_step(checkpoint):
    objective = settings(alternate=False, **OFF | {"latent_loss": "mask"}).open(CTX)
    assert objective.trained_at(0) == objective.trained_at(1) == frozenset(parameters(objective))
    assert {name.split(".")[1] for name in parameters(objective)} == {"conv_in", "down_blocks", "mid_block"}


def test_each_image_loss_alone_reaches_the_unet(checkpoint, batch):
    for switch in ("global_loss", "local_loss", "perceptual_loss"):
        objective = settings(**{**OFF, switch: True}).open(CTX)
        _, parts = backward(objective, batch, 0)
        assert list(parts) == [switch.removesuffix("_loss")]
        assert all(float(parameters(objective)[n].grad.abs().sum()) > 0 for n in objective.trained_at(0))


def test_without_a_phrase_the_local_loss_alone_is_0_and_leaves_the_weights(checkpoint, batch):
    objective = settings(**{**OFF, "local_loss": True}).open(CTX)
    loss, _ = backward(objective, changed(batch, target_phrase=("",) * len(batch)), 0)
    assert float(loss.detach()) == 0
    assert all(float(parameters(objective)[name].grad.abs().sum()) == 0 for name in objective.trained_at(0))


def test_ldm_loss_asks_for_the_noise_of_the_source_whatever_the_target(checkpoint, batch):
    def loss(kind, given):
        return float(loss_of(settings(**OFF | {"latent_loss": kind}).open(CTX), given)[0].detach())

    same = changed(batch, target_image=batch["source_images"][0])
    assert loss("ldm", batch) == loss("ldm", same) == pytest.approx(loss("paired", same), rel=1e-4)
    assert loss("paired", batch) > 1.05 * loss("ldm", batch)


def test_loss_is_equation_12_of_its_parts(objective, checkpoint, batch):
    """One sample, so that means over the batch are the values themselves."""
    columns = {
        name: (v[0][:1],) if name == "source_images" else v[:1] for name, v in batch.columns.items()
    }  # fmt: skip
    one = replace(batch, number_B=batch.number_B[:1], keys=batch.keys[:1], columns=columns)
    loss, parts = loss_of(objective, one)
    timestep = int(draw_timestep_and_noise(Draws(0, one.number_B), (4, 16, 16), 1000).timestep_B) + 1
    time = timestep / 1000
    expected = (1 - time) * (parts["local"] + parts["global"]) + time * parts["latent"] + 0.1 * parts["perceptual"]
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_images_are_decoded_only_where_a_loss_looks_at_them(checkpoint, batch, monkeypatch):
    monkeypatch.setattr(checkpoint.latents, "decode", lambda latent: pytest.fail("decoded"))
    loss, parts = settings(**OFF | {"latent_loss": "paired"}).open(CTX).loss(batch, Draws(0, batch.number_B))
    assert loss.isfinite()
    assert list(parts) == ["latent"]


def test_latents_of_the_dataset_take_the_place_of_the_autoencoder(objective, checkpoint, batch, monkeypatch):
    both = checkpoint.latents.encode(torch.cat([batch["source_images"][0], batch["target_image"]]))
    given = changed(batch, source_latent=both[:2], target_latent=both[2:])
    expected, _ = loss_of(objective, batch)
    monkeypatch.setattr(checkpoint.latents, "encode", lambda image: pytest.fail("encoded"))
    found, _ = loss_of(objective, given)
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
    assert settings(**more).needs_columns() == (MASKS if needs_masks else ())


def test_models_that_cannot_serve_are_refused_with_their_name(checkpoint):
    with pytest.raises(ModelError, match="no model is called 'zoo:vgg'"):
        settings(perceptual_model="zoo:vgg").open(CTX)
    with pytest.raises(ModelError, match="'zoo:blip' is of kind 'blip', which cannot serve DifferentiableImageText"):
        settings(clip_model="zoo:blip").open(CTX)
    with pytest.raises(UsageError, match="all its losses off"):
        settings(**OFF).open(CTX)


def test_models_and_sizes_that_do_not_fit_are_refused_before_weights_load(monkeypatch, tmp_path):
    monkeypatch.setattr("trainer.recipes.iedit.recipe.Checkpoint", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError, match="size_px is 60; model 'zoo:sd' needs a multiple of 8"):
        settings(size_px=60).open(CTX)
    shutil.copytree(ZOO / "sd", tmp_path / "sd")
    config = tmp_path / "sd" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 9}))
    with pytest.raises(UsageError, match="has a UNet of 9 input channels; recipe iedit trains text-to-image models"):
        settings(model=f"path:{tmp_path / 'sd'}").open(CTX)


def test_default_models_are_pinned_repositories():
    from models.model_ids import find

    default = make_recipe(IEdit, {"data": "d", "model": "zoo:sd", "out": "o"})
    assert [find(one).scheme for one in (default.clip_model, default.perceptual_model)] == ["hf", "hf"]


def test_models_that_are_needed_are_those_of_the_losses_that_are_on():
    assert settings().needs_models() == ("zoo:sd", "zoo:clip", "zoo:dino")
    assert settings(**OFF | {"local_loss": True}).needs_models() == ("zoo:sd", "zoo:clip")
    assert settings(global_loss=False, local_loss=False).needs_models() == ("zoo:sd", "zoo:dino")


def test_latents_are_declared_where_they_are_wanted(objective):
    (spec,) = objective.arrays
    assert (spec.made_by["latent_model"], spec.made_by["latent_size_px"]) == ("zoo:sd", 64)
    assert spec.shapes["source_latent"] == spec.shapes["target_latent"] == (4, 16, 16)
    assert settings(use_latents=False).open(CTX).arrays == ()


def test_previews_are_edited_at_the_size_of_the_training(objective):
    assert objective.editor.needs == {"target_caption"}
    assert objective.editor._size_px == 64
