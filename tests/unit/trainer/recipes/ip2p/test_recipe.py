"""The recipe on zoo:sd and a small SDXL: the loss against diffusers' scheduler, conditions, gradients, saving."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from _checkpoints import save_sdxl, save_stable_diffusion_2
from _datasets import write_dataset
from PIL import Image

from core.errors import UsageError
from models.diffusion.editor_kinds import REGION_PIX2PIX, REGION_PIX2PIX_XL
from models.schemes.zoo import ZOO
from samples.shards import read_shards
from trainer.batch import collate
from trainer.data import first_samples
from trainer.decode import Decoder
from trainer.draws import Draws
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix

pytestmark = pytest.mark.usefixtures("one_thread")

CTX = TrainContext(device=torch.device("cpu"))
DECODER = Decoder(
    size_px=64, required=InstructPix2Pix.reads, optional=InstructPix2Pix.reads_if_present, filled=InstructPix2Pix.filled
)
NO_DROPOUT = {"text_dropout": 0.0, "image_dropout": 0.0, "both_dropout": 0.0}
IMAGE = Image.new("RGB", (64, 64), "teal")


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    dataset = read_shards(write_dataset(tmp_path_factory.mktemp("data"), (4,)))
    return collate(first_samples(dataset, DECODER, 4), DECODER, "recipe ip2p")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return f"path:{save_sdxl(tmp_path_factory.mktemp('sdxl') / 'sdxl')}"


@pytest.fixture(scope="module")
def sd2(tmp_path_factory):
    return f"path:{save_stable_diffusion_2(tmp_path_factory.mktemp('sd2') / 'sd2')}"


def settings(**more):
    return make_recipe(InstructPix2Pix, {"data": "d", "model": "zoo:sd", "out": "o", "size_px": 64, **more})


def opened(**more):
    return settings(**more).open(CTX)


def changed(batch, **columns):
    return replace(batch, columns={**batch.columns, **columns})


def with_region(batch):
    mask = torch.zeros(len(batch), 1, 64, 64)
    mask[:, :, 16:48, :32] = 1
    return changed(batch, region_mask_png=mask)


def loss_of(objective, batch, seed=0):
    return objective.loss(batch, Draws(seed, batch.number_B))


def stir(objective):
    """Move the zeros of new channels and adapters, as training does."""
    generator = torch.Generator().manual_seed(1)
    known = dict(objective.modules["unet"].named_parameters())
    with torch.no_grad():
        for name in sorted(objective.trained_at(0)):
            parameter = known[name.removeprefix("unet.")]
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return objective


@pytest.fixture
def inputs_seen():
    """Called with an objective: a list of (sample, timestep, hidden states, conditions) that its UNet receives."""

    def watch(objective):
        seen = []
        objective.modules["unet"].register_forward_pre_hook(
            lambda _, args, named: seen.append((*args, named.get("added_cond_kwargs"))), with_kwargs=True
        )
        return seen

    return watch


def expected_loss(objective, batch, more):
    """The loss, straight from diffusers' scheduler and pipeline; `more` are the settings. No condition is dropped."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import compute_snr

    pipeline = objective._checkpoint.pipeline
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    draws = Draws(0, batch.number_B)
    time = draws.integers("timestep", 1000)
    with torch.no_grad():
        target = pipeline.vae.encode(batch["target_image"]).latent_dist.mode() * pipeline.vae.config.scaling_factor
        given = [pipeline.vae.encode(batch["source_images"][0]).latent_dist.mode()]
        if more.get("region"):
            given.append(pipeline.vae.encode(batch["region_mask_png"].repeat(1, 3, 1, 1) * 2 - 1).latent_dist.mode())
        texts, conditions = list(batch["instruction"]), {}
        if hasattr(pipeline, "text_encoder_2"):
            text, _, pooled, _ = pipeline.encode_prompt(texts, device="cpu", do_classifier_free_guidance=False)
            ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * len(batch))
            conditions = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": ids}}
        else:
            text, _ = pipeline.encode_prompt(texts, "cpu", 1, do_classifier_free_guidance=False)
        noise = draws.normal("noise", target.shape[1:])
        noisy = scheduler.add_noise(target, noise, time)
        out = objective.modules["unet"](torch.cat([noisy, *given], 1), time, text, **conditions).sample
        is_v = scheduler.config.prediction_type == "v_prediction"
        wanted = scheduler.get_velocity(target, noise, time) if is_v else noise
        error = (out - wanted).square().mean((1, 2, 3))
        snr = compute_snr(scheduler, time)
        kind = more.get("loss_weights", "plain")
        if kind == "min_snr":
            error = error * torch.stack([snr, torch.full_like(snr, 5.0)]).min(0).values / (snr + 1 if is_v else snr)
        if kind == "clean":
            clean = [
                DDPMScheduler.from_config(scheduler.config, clip_sample=False)
                .step(out[row : row + 1], int(one), noisy[row : row + 1])
                .pred_original_sample
                for row, one in enumerate(time)
            ]
            error = (torch.cat(clean) - target).square().mean((1, 2, 3))
    return float(error.mean())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("kind", ["plain", "min_snr", "clean"])
def test_loss_is_that_of_diffusers_scheduler(batch, prediction, kind):
    more = {"prediction_type": prediction, "loss_weights": kind, **NO_DROPOUT}
    objective = stir(opened(**more))
    loss, parts = loss_of(objective, batch)
    assert float(loss) == pytest.approx(expected_loss(objective, batch, more), rel=1e-4)
    assert float(parts["error"]) == pytest.approx(expected_loss(objective, batch, {}), rel=1e-4)


def test_loss_of_a_model_of_velocities_needs_no_setting(batch, sd2):
    objective = stir(opened(model=sd2, **NO_DROPOUT))
    loss, _ = loss_of(objective, batch)
    assert objective._checkpoint.schedule.prediction == "v_prediction"
    assert float(loss) == pytest.approx(expected_loss(objective, batch, {}), rel=1e-4)


@pytest.mark.parametrize("region", [False, True])
def test_loss_of_sdxl_has_pooled_text_and_the_size(batch, sdxl, region):
    more = {"model": sdxl, "region": region, **NO_DROPOUT}
    given = with_region(batch) if region else batch
    objective = stir(opened(**more))
    assert float(loss_of(objective, given)[0]) == pytest.approx(expected_loss(objective, given, more), rel=1e-4)


def test_region_is_a_third_latent_and_white_where_samples_have_none(batch, caplog):
    more = {"region": True, **NO_DROPOUT}
    objective = stir(opened(**more))
    losses = [float(loss_of(objective, given)[0]) for given in (with_region(batch), batch)]
    assert losses[0] == pytest.approx(expected_loss(objective, with_region(batch), more), rel=1e-4)
    assert losses[1] == pytest.approx(expected_loss(objective, batch, more), rel=1e-4)
    assert losses[0] != losses[1]


def test_data_without_any_region_is_reported_once(batch, caplog):
    caplog.set_level("INFO")
    objective = opened(region=True)
    for _ in range(2):
        loss_of(objective, batch)
    assert [record.message for record in caplog.records] == [
        "the first samples have no region; theirs is white, the whole image"
    ]


def cached(objective, batch, rows):
    """The arrays that a dataset could have for these rows of the batch, by column."""
    conditions, kept = objective._conditions, torch.zeros(len(batch), dtype=torch.bool)
    latents, texts = objective._checkpoint.latents, conditions.texts(batch, kept)
    images = conditions.images(batch, kept)
    scale = objective._checkpoint.pipeline.vae.config.scaling_factor
    found = {"target_latent": conditions.target(batch), "source_latent": images[:, :4] * scale}
    if images.shape[1] > 4:
        found["region_latent"] = images[:, 4:] * scale
    found["instruction_emb"] = texts.tokens_BLD
    if texts.pooled_BD is not None:
        found["instruction_pooled_emb"] = texts.pooled_BD
    assert latents.channels == 4
    return {name: values[rows] for name, values in found.items()}


@pytest.mark.parametrize(("model", "region"), [("zoo:sd", False), ("zoo:sd", True), ("sdxl", True)])
def test_latents_and_embeddings_of_the_dataset_replace_the_encoders(batch, monkeypatch, sdxl, model, region):
    given = with_region(batch)
    objective = stir(opened(model=sdxl if model == "sdxl" else model, region=region))
    expected, _ = loss_of(objective, given)
    rows = torch.tensor([0, 2])
    partial = {name: (rows, values) for name, values in cached(objective, given, rows).items()}
    some, _ = loss_of(objective, replace(given, partial=partial))
    whole = changed(given, **cached(objective, given, slice(None)))
    monkeypatch.setattr(objective._checkpoint.latents, "encode", lambda image: pytest.fail("encoded"))
    monkeypatch.setattr(objective._checkpoint, "encode_texts", lambda texts: pytest.fail("encoded"))
    every, _ = loss_of(objective, whole)
    assert [float(some), float(every)] == pytest.approx([float(expected)] * 2, rel=1e-5)


def test_arrays_that_can_be_used_are_those_of_this_model(sdxl):
    latents, texts = opened(model=sdxl).arrays
    assert latents.made_by.keys() == {"latent_model", "latent_revision", "latent_size_px"}
    assert latents.shapes == dict.fromkeys(("source_latent", "target_latent", "region_latent"), (4, 8, 8))
    assert texts.made_by["text_model"] == latents.made_by["latent_model"] == sdxl
    assert texts.made_by["text_revision"] == latents.made_by["latent_revision"]
    assert texts.shapes == {"instruction_emb": (16, 64), "instruction_pooled_emb": (24,)}
    assert opened().arrays[1].shapes.keys() == {"instruction_emb"}
    assert opened(use_latents=False, use_text_embeddings=False).arrays == ()


@pytest.mark.parametrize(
    ("share", "is_text_null", "is_image_null"),
    [("text_dropout", True, False), ("image_dropout", False, True), ("both_dropout", True, True), ("", False, False)],
)
def test_dropped_conditions_do_not_reach_the_network(batch, inputs_seen, share, is_text_null, is_image_null):
    more = {**NO_DROPOUT, "region": True}
    objective = opened(**more | ({share: 1.0} if share else {}))
    seen = inputs_seen(objective)
    loss_of(objective, with_region(batch))
    ((sample, _, text, _),) = seen
    empty = objective._checkpoint.encode_texts([""]).tokens_BLD
    kept = objective._conditions.images(with_region(batch), torch.zeros(len(batch), dtype=torch.bool))
    for row in range(len(batch)):
        assert torch.equal(text[row], empty[0]) == is_text_null
    torch.testing.assert_close(sample[:, 4:], torch.zeros_like(kept) if is_image_null else kept)
    assert kept.abs().sum((0, 2, 3)).all()


@pytest.mark.parametrize("is_zero", [True, False])
def test_dropped_text_of_sdxl_is_what_its_pipeline_takes_for_none(batch, inputs_seen, sdxl, tmp_path, is_zero):
    shutil.copytree(sdxl.removeprefix("path:"), tmp_path / "sdxl")
    path = tmp_path / "sdxl" / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "force_zeros_for_empty_prompt": is_zero}))
    objective = opened(model=f"path:{tmp_path / 'sdxl'}", **NO_DROPOUT | {"text_dropout": 1.0})
    seen = inputs_seen(objective)
    loss_of(objective, batch)
    _, expected, _, pooled = objective._checkpoint.pipeline.encode_prompt("a cat", device="cpu")
    _, _, text, conditions = seen[0]
    assert bool(text.any()) != is_zero
    torch.testing.assert_close(text, expected.expand_as(text))
    torch.testing.assert_close(conditions["text_embeds"], pooled.expand_as(conditions["text_embeds"]))


def test_images_that_are_not_square_are_trained_at_their_size(batch, inputs_seen, sdxl):
    wide = {name: torch.rand(4, 3, 32, 64) * 2 - 1 for name in ("source", "target")}
    given = changed(
        batch, source_images=(wide["source"],), target_image=wide["target"], region_mask_png=torch.ones(4, 1, 32, 64)
    )
    objective = opened(model=sdxl, region=True)
    seen = inputs_seen(objective)
    assert loss_of(objective, given)[0].isfinite()
    sample, _, _, conditions = seen[0]
    assert sample.shape == (4, 12, 4, 8)
    assert conditions["time_ids"].tolist() == [[32.0, 64, 0, 0, 32, 64]] * 4


@pytest.mark.parametrize("model", ["zoo:sd", "sdxl"])
@pytest.mark.parametrize("region", [False, True])
def test_all_that_is_trained_gets_gradients_from_the_first_step(batch, sdxl, model, region):
    objective = opened(model=sdxl if model == "sdxl" else model, region=region)
    known = dict(objective.modules["unet"].named_parameters())
    for name in objective.trained_at(0):
        known[name.removeprefix("unet.")].requires_grad_(True)
    loss_of(objective, with_region(batch))[0].backward()
    assert {f"unet.{name}" for name in known} == objective.trained_at(0)
    for name, parameter in known.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    new = known["conv_in.weight"].grad[:, 4:]
    assert new.shape[1] == (8 if region else 4)
    assert new.abs().sum((0, 2, 3)).all()


def test_adapters_get_gradients_and_the_weights_below_them_none(batch):
    objective = stir(opened(trained="lora", lora_rank=4, region=True))
    known = {f"unet.{name}": one for name, one in objective.modules["unet"].named_parameters()}
    for name in objective.trained_at(0):
        known[name].requires_grad_(True)
    loss_of(objective, with_region(batch))[0].backward()
    for name, parameter in known.items():
        if name in objective.trained_at(0):
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        else:
            assert parameter.grad is None, name


def test_first_convolution_has_a_rate_of_its_own():
    first, rest = opened(conv_in_learning_rate=1e-3).groups
    assert first.names == ("unet.conv_in.weight", "unet.conv_in.bias")
    assert (first.learning_rate, rest.learning_rate) == (1e-3, None)
    assert opened().groups[0].learning_rate is None


@pytest.mark.parametrize("region", [False, True])
def test_untrained_editor_denoises_as_the_model_it_came_from(batch, region):
    objective = opened(region=region)
    unet, plain = objective.modules["unet"], opened()._checkpoint
    latent, time, more = torch.randn(2, 4, 16, 16), torch.tensor([3, 700]), torch.randn(2, 8 if region else 4, 16, 16)
    text = plain.encode_texts(["a red car", "two cats"]).tokens_BLD
    from diffusers import UNet2DConditionModel

    old = UNet2DConditionModel.from_pretrained(ZOO / "sd", subfolder="unet", torch_dtype=torch.float32).eval()
    with torch.no_grad():
        found = unet(torch.cat([latent, more], 1), time, text).sample
        torch.testing.assert_close(found, old(latent, time, text).sample, atol=1e-5, rtol=1e-5)


def test_saved_editor_loads_and_runs_in_diffusers(tmp_path, batch):
    from diffusers import StableDiffusionInstructPix2PixPipeline

    objective = stir(opened(prediction_type="v_prediction"))
    objective.save(tmp_path)
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(tmp_path, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    torch.testing.assert_close(pipeline.unet.state_dict(), objective.modules["unet"].state_dict())
    edited = pipeline("make it red", image=IMAGE, num_inference_steps=2).images[0]
    assert edited.size == (64, 64)
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of diffusers' Euler scheduler under NumPy 2
def test_saved_sdxl_editor_loads_and_runs_in_diffusers(tmp_path, sdxl):
    from diffusers import StableDiffusionXLInstructPix2PixPipeline

    opened(model=sdxl, run_on={"save_dtype": "float16"}).save(tmp_path)
    pipeline = StableDiffusionXLInstructPix2PixPipeline.from_pretrained(
        tmp_path, use_safetensors=True, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    edited = pipeline("a red cat", image=IMAGE, height=64, width=64, num_inference_steps=2).images[0]
    assert np.asarray(edited).shape == (64, 64, 3)


@pytest.mark.parametrize(("model", "kind"), [("zoo:sd", REGION_PIX2PIX), ("sdxl", REGION_PIX2PIX_XL)])
def test_region_editor_has_a_name_of_its_own_and_diffusers_refuses_it(tmp_path, sdxl, model, kind):
    import diffusers

    opened(model=sdxl if model == "sdxl" else model, region=True).save(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["_class_name"] == kind
    with pytest.raises(AttributeError, match=f"module diffusers has no attribute {kind}"):
        diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    if model == "zoo:sd":
        pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(tmp_path)
        pipeline.set_progress_bar_config(disable=True)
        with pytest.raises(ValueError, match=r"expects 12 but received `num_channels_latents`: 4 \+"):
            pipeline("make it red", image=IMAGE, num_inference_steps=1)


@pytest.mark.parametrize("model", ["zoo:sd", "sdxl"])
def test_second_stage_adds_the_region_to_what_the_first_one_trained(tmp_path, batch, sdxl, model):
    first = stir(opened(model=sdxl if model == "sdxl" else model, prediction_type="v_prediction"))
    first.save(tmp_path / "first")
    second = opened(model=f"path:{tmp_path / 'first'}", region=True)
    old, new = (one.modules["unet"].conv_in for one in (first, second))
    assert torch.equal(new.weight[:, :8], old.weight)
    assert torch.equal(new.bias, old.bias)
    assert not new.weight[:, 8:].any()
    assert second._checkpoint.schedule.prediction == "v_prediction"
    stir(second).save(tmp_path / "second")
    third = opened(model=f"path:{tmp_path / 'second'}", region=True)
    torch.testing.assert_close(third.modules["unet"].state_dict(), second.modules["unet"].state_dict())
    with pytest.raises(UsageError, match="takes a region, its UNet has 12 input channels; set region=true"):
        opened(model=f"path:{tmp_path / 'second'}")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("zoo:clip", "model 'zoo:clip' is of kind 'clip'; this trainer takes a StableDiffusionPipeline or"),
        ("zoo:sd-inpaint", "is of kind 'StableDiffusionInpaintPipeline'; this trainer takes"),
    ],
)
def test_model_of_another_kind_is_refused_before_it_is_loaded(monkeypatch, model, message):
    monkeypatch.setattr("trainer.diffusion.editors.Checkpoint", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=message):
        opened(model=model)


def test_model_of_another_width_is_refused_before_it_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr("trainer.diffusion.editors.Checkpoint", lambda *_, **__: pytest.fail("loaded"))
    shutil.copytree(ZOO / "sd", tmp_path / "sd")
    path = tmp_path / "sd" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "in_channels": 9}))
    with pytest.raises(UsageError, match="has a UNet of 9 input channels; a StableDiffusionPipeline that can be trai"):
        opened(model=f"path:{tmp_path / 'sd'}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size_px": 60}, "size_px is 60; model 'zoo:sd' needs a multiple of 8"),
        ({"size_px": 40, "aspect_buckets": True}, "with aspect_buckets model 'zoo:sd' needs a multiple of 32"),
    ],
)
def test_a_size_that_the_model_cannot_take_is_refused_before_it_is_loaded(monkeypatch, given, message):
    monkeypatch.setattr("trainer.diffusion.editors.Checkpoint", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=message):
        opened(model="zoo:sd", **given)
