"""The recipe on zoo:sd, zoo:ip2p-early, and small checkpoints of SD 2 and SDXL: opened, refused, saved, previewed."""

import json
import shutil

import numpy as np
import pytest
import torch
from _checkpoints import save_pix2pix, save_sdxl, save_stable_diffusion_2, save_stable_diffusion_inpainting
from _cycle_edits import CTX, NO_DROPOUT, OFF, ONLY, first_batch, settings, stir, trained
from PIL import Image

from core.errors import ModelError, SettingError, UsageError
from models.protocols import EditRequest
from models.schemes.zoo import ZOO
from trainer.draws import Draws
from trainer.recipe import make_recipe
from trainer.recipes import find_recipe
from trainer.recipes.uip2p.recipe import Uip2p

MODELS = ("zoo:sd", "zoo:ip2p-early", "sd2", "sdxl", "sdxl editor")
IMAGE = Image.new("RGB", (64, 64), "teal")
MIXED = {"text_dropout": 0.2, "image_dropout": 0.2, "both_dropout": 0.1, "identity_loss": True}
SEED = 1
"""With it the first of two samples loses its image, and the second keeps what it has."""
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # of diffusers' Euler schedulers
]


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    return first_batch(tmp_path_factory.mktemp("data"), 2)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Name -> model id."""
    folder = tmp_path_factory.mktemp("models")
    save_stable_diffusion_2(folder / "sd2")
    save_stable_diffusion_inpainting(folder / "inpainting")
    save_pix2pix(folder / "sdxl editor", save_sdxl(folder / "sdxl"))
    save_pix2pix(folder / "region editor", folder / "sd2", channels=12)
    known = {path.name: f"path:{path}" for path in folder.iterdir()}
    return {**known, "zoo:sd": "zoo:sd", "zoo:ip2p-early": "zoo:ip2p-early"}


@pytest.fixture
def _unloaded(monkeypatch):
    monkeypatch.setattr("trainer.diffusion.editors.Checkpoint", lambda *_, **__: pytest.fail("loaded"))


def loss_of(objective, batch, seed=SEED):
    return objective.loss(batch, Draws(seed, batch.number_B))


@pytest.mark.parametrize("way", ["unet", "lora"])
@pytest.mark.parametrize("name", MODELS)
def test_every_trained_parameter_has_a_finite_gradient(models, batch, name, way):
    objective = stir(settings(model=models[name], trained=way, lora_rank=2, **MIXED).open(CTX))
    assert objective._dropout.dropped(Draws(SEED, batch.number_B).uniform("dropout")).image_B.tolist() == [True, False]
    loss, parts = loss_of(objective, batch)
    assert all(float(part) > 0 for part in parts.values())
    loss.backward()
    for parameter_name, parameter in trained(objective).items():
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name
    checkpoint = objective._checkpoint
    frozen = [*checkpoint.pipeline.vae.parameters(), *checkpoint.pipeline.text_encoder.parameters()]
    others = [one for key, one in checkpoint.unet.named_parameters() if f"unet.{key}" not in trained(objective)]
    assert bool(others) == (way == "lora")
    assert not any(one.requires_grad or one.grad is not None for one in (*frozen, *others))


@pytest.mark.parametrize("name", MODELS)
def test_unet_of_an_editor_stays_and_that_of_text_to_image_is_widened(models, name):
    objective = settings(model=models[name]).open(CTX)
    unet = objective.modules["unet"]
    channels = unet.config.out_channels
    assert unet.conv_in.in_channels == 2 * channels
    assert unet.conv_in.weight[:, :channels].any()
    assert bool(unet.conv_in.weight[:, channels:].any()) == ("ip2p" in name or "editor" in name)
    first, rest = objective.groups
    assert first.names == ("unet.conv_in.weight", "unet.conv_in.bias")
    assert len(first.names) + len(rest.names) == len(list(unet.parameters()))


@pytest.mark.usefixtures("_unloaded")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("region editor", "is of kind '.*Region.*'; this trainer takes a StableDiffusionPipeline or StableDiffusionIn"),
        ("inpainting", "is of kind 'StableDiffusionInpaintPipeline'; this trainer takes a StableDiffusionPipeline"),
        ("zoo:clip", "model 'zoo:clip' is of kind 'clip'; this trainer takes a StableDiffusionPipeline"),
    ],
)
def test_model_of_another_kind_is_refused_before_it_is_loaded(models, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        settings(model=models.get(name, name)).open(CTX)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_unloaded")
def test_size_that_the_model_cannot_take_is_refused_before_it_is_loaded():
    with pytest.raises(UsageError, match="size_px is 60; model 'zoo:sd' needs a multiple of 8"):
        settings(size_px=60).open(CTX)


def with_scheduler(folder, **changed):
    """zoo:sd with another configuration of its scheduler."""
    shutil.copytree(ZOO / "sd", folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return f"path:{folder}"


def test_model_of_noise_that_has_a_timestep_of_pure_noise_is_refused(tmp_path):
    model = with_scheduler(tmp_path / "sd", rescale_betas_zero_snr=True)
    with pytest.raises(UsageError, match="predicts noise and has a timestep of pure noise; name another"):
        settings(model=model).open(CTX)


def test_model_of_velocities_may_have_a_timestep_of_pure_noise(tmp_path, batch, monkeypatch):
    more = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    model = with_scheduler(tmp_path / "sd", **more)
    objective = settings(model=model, clean_cycle_condition=True, **NO_DROPOUT).open(CTX)
    assert not objective.schedule.alpha_T[-1] > 0
    monkeypatch.setattr(Draws, "integers", lambda draws, _, high: torch.full((len(draws.number_B),), high - 1))
    loss, _ = loss_of(stir(objective), batch)
    assert loss.isfinite()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in trained(objective).values())


@pytest.mark.usefixtures("_unloaded")
def test_all_losses_off_are_refused():
    for more in ({}, {"identity_loss": True}):
        with pytest.raises(UsageError, match="recipe uip2p has all its losses off; set one of lambda_clip, lambda_at"):
            settings(**OFF | more).open(CTX)
    with pytest.raises(SettingError, match="lambda_sim"):
        settings(lambda_sim=-1.0)


def test_a_compiled_unet_is_refused():
    with pytest.raises(SettingError, match=r"compile_unet does not help this recipe.*; set run_on.compile_unet=false"):
        settings(run_on={"compile_unet": True})


def test_a_size_at_which_no_attention_is_compared_is_refused(models, monkeypatch):
    monkeypatch.setattr("trainer.recipes.uip2p.objective.MAX_QUERIES", 3)
    more = {"model": models["sd2"], "clip_model": "zoo:clip", "size_px": 64}
    with pytest.raises(UsageError, match=r"at size_px 64 all cross-attentions of model .* have more than 3 places"):
        settings(**more).open(CTX)
    settings(**more, lambda_attn=0.0).open(CTX)


def test_clip_is_loaded_only_where_a_loss_needs_it(models, batch):
    more = {"model": models["sd2"], "clip_model": "zoo:nothing", **NO_DROPOUT}
    loss, parts = loss_of(settings(**more, **OFF | ONLY["attention"] | ONLY["identity"]).open(CTX), batch)
    assert (list(parts), bool(loss.isfinite())) == (["attention", "identity"], True)
    for name in ("direction", "similarity", "reconstruction"):
        with pytest.raises(ModelError, match="no model is called 'zoo:nothing'"):
            settings(**more, **OFF | ONLY[name]).open(CTX)


def test_models_that_are_needed_are_those_of_the_losses_that_are_on():
    assert settings().needs_models() == ("zoo:sd", "zoo:clip")
    assert settings(**OFF | ONLY["attention"]).needs_models() == ("zoo:sd",)
    for name in ("direction", "similarity", "reconstruction"):
        assert settings(**OFF | ONLY[name]).needs_models() == ("zoo:sd", "zoo:clip")


def test_defaults_are_those_of_the_paper():
    default = make_recipe(find_recipe("uip2p"), {"data": "d", "model": "zoo:sd", "out": "o"})
    assert isinstance(default, Uip2p)
    assert (default.learning_rate, default.steps, default.size_px) == (5e-5, 11_000, 256)
    assert (default.lambda_clip, default.lambda_attn, default.lambda_sim, default.lambda_recon) == (1.0, 0.5, 1.0, 1.0)
    assert (default.identity_loss, default.clean_cycle_condition) == (False, False)
    assert default.clip_model.startswith("hf:openai/clip-vit-large-patch14@")
    assert "target_image" not in (*default.reads, *default.reads_if_present)


def test_latents_are_declared_where_they_are_wanted(models):
    (spec,) = settings(model=models["sd2"]).open(CTX).arrays
    assert spec.shapes["source_latent"] == (4, 8, 8)
    assert settings(model=models["sd2"], use_latents=False).open(CTX).arrays == ()


@pytest.mark.parametrize("name", MODELS)
def test_saved_editor_loads_and_runs_in_diffusers(tmp_path, models, name):
    import diffusers

    objective = stir(settings(model=models[name]).open(CTX))
    objective.save(tmp_path)
    kind = "StableDiffusionXLInstructPix2PixPipeline" if "xl" in name else "StableDiffusionInstructPix2PixPipeline"
    assert json.loads((tmp_path / "model_index.json").read_text())["_class_name"] == kind
    pipeline = getattr(diffusers, kind).from_pretrained(tmp_path, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    torch.testing.assert_close(pipeline.unet.state_dict(), objective.modules["unet"].state_dict())
    assert pipeline.scheduler.config.prediction_type == objective.schedule.prediction
    size = {"height": 64, "width": 64} if "xl" in name else {}
    edited = pipeline("make it red", image=IMAGE, num_inference_steps=2, **size).images[0]
    assert edited.size == (64, 64)


@pytest.mark.parametrize("num_steps", [4, 20])
@pytest.mark.parametrize("name", ["zoo:sd", "zoo:ip2p-early"])
def test_editor_of_previews_edits_in_few_and_in_many_steps(models, batch, name, num_steps):
    """Between the passes of two losses, whose values stay as they are."""
    objective = stir(settings(model=models[name], run_on={"preview": {"num_steps": num_steps}}).open(CTX))
    before, seen = float(loss_of(objective, batch)[0].detach()), []
    hook = objective.modules["unet"].register_forward_pre_hook(lambda *_: seen.append(None))
    requests = [EditRequest(image=IMAGE, instruction=text) for text in ("make it red", "make it blue")]
    one, other = objective.editor.edit(requests, seeds=[5, 5])
    hook.remove()
    assert len(seen) == num_steps
    assert one.size == other.size == (64, 64)
    assert np.asarray(one).std() > 0
    assert (np.asarray(one) != np.asarray(other)).any()
    assert objective.editor._size_px == 64
    assert objective.editor.needs == {"instruction"}
    assert float(loss_of(objective, batch)[0].detach()) == before
