"""Adapters and the first convolution trained beside them, against the pipelines of diffusers that load them."""

import diffusers
import pytest
import torch
from _checkpoints import save_sdxl
from PIL import Image
from safetensors.torch import load_file

from models.diffusion.editor_kinds import LORA_FOLDER
from models.schemes.zoo import ZOO
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix

pytestmark = pytest.mark.usefixtures("one_thread")

CTX = TrainContext(device=torch.device("cpu"))
KINDS = {"sd": "StableDiffusionInstructPix2PixPipeline", "sdxl": "StableDiffusionXLInstructPix2PixPipeline"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {"sd": "zoo:sd", "sdxl": f"path:{save_sdxl(tmp_path_factory.mktemp('sdxl') / 'sdxl')}"}


def opened(model, **more):
    values = {"data": "d", "model": model, "out": "o", "size_px": 64, "trained": "lora", "lora_rank": 4, **more}
    return make_recipe(InstructPix2Pix, values).open(CTX)


def stir(objective):
    """The objective with all that it trains moved, as by training. Seeded, so that two are alike."""
    generator = torch.Generator().manual_seed(1)
    known = dict(objective.modules["unet"].named_parameters())
    with torch.no_grad():
        for name in sorted(objective.trained_at(0)):
            parameter = known[name.removeprefix("unet.")]
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return objective


def inputs(unet):
    generator = torch.Generator().manual_seed(2)
    latent = torch.randn(2, unet.config.in_channels, 8, 8, generator=generator)
    text = torch.randn(2, 5, unet.config.cross_attention_dim, generator=generator)
    more = {}
    if unet.config.addition_embed_type:
        pooled = torch.randn(2, 24, generator=generator)
        more = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.full((2, 6), 64.0)}}
    return (latent, torch.tensor([3, 700]), text), more


@torch.no_grad()
def output(unet):
    given, more = inputs(unet)
    return unet(*given, **more).sample


@pytest.mark.parametrize("kind", KINDS)
def test_trained_are_the_first_convolution_and_adapters_of_all_attention(models, kind):
    objective = opened(models[kind])
    first, adapters = objective.groups
    assert first.names == ("unet.conv_in.weight", "unet.conv_in.bias")
    layers = {name.partition(".lora_")[0] for name in adapters.names}
    attention = ("to_q", "to_k", "to_v", "to_out.0")
    unet = objective.modules["unet"]
    assert layers == {
        f"unet.{name}"
        for name, module in unet.named_modules()
        if name.endswith(attention) and hasattr(module, "lora_A")
    }
    assert len(layers) == 4 * sum(name.endswith((".attn1", ".attn2")) for name, _ in unet.named_modules())
    assert all(parameter.dtype == torch.float32 for parameter in unet.parameters())


def test_untrained_adapters_change_nothing():
    whole = make_recipe(InstructPix2Pix, {"data": "d", "model": "zoo:sd", "out": "o", "size_px": 64}).open(CTX)
    torch.testing.assert_close(output(opened("zoo:sd").modules["unet"]), output(whole.modules["unet"]))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of diffusers' Euler scheduler under NumPy 2
@pytest.mark.parametrize("kind", KINDS)
def test_load_lora_weights_gives_the_trained_network(tmp_path, models, kind):
    objective = stir(opened(models[kind]))
    objective.save(tmp_path)
    pipeline = getattr(diffusers, KINDS[kind]).from_pretrained(tmp_path, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    expected, without = output(objective.modules["unet"]), output(pipeline.unet)
    pipeline.load_lora_weights(tmp_path / LORA_FOLDER)
    torch.testing.assert_close(output(pipeline.unet), expected, atol=1e-4, rtol=1e-4)
    assert (without - expected).abs().max() > 0.01
    image = Image.new("RGB", (64, 64), "teal")
    size = {"height": 64, "width": 64} if kind == "sdxl" else {}
    assert pipeline("make it red", image=image, num_inference_steps=1, **size).images[0].size == (64, 64)


def test_saved_pipeline_is_the_base_but_for_the_first_convolution(tmp_path):
    objective = stir(opened("zoo:sd", region=True, run_on={"save_dtype": "float16"}))
    objective.save(tmp_path)
    stored, base = (
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (tmp_path, ZOO / "sd")
    )
    assert {name for name in base if not torch.equal(stored[name], base[name].half())} <= {
        "conv_in.weight", "conv_in.bias",
    }  # fmt: skip
    assert stored["conv_in.weight"].shape[1] == 12
    torch.testing.assert_close(stored["conv_in.weight"], objective.modules["unet"].conv_in.weight.half())
    adapters = load_file(tmp_path / LORA_FOLDER / "pytorch_lora_weights.safetensors")
    assert {tensor.dtype for tensor in adapters.values()} == {torch.float16}


@pytest.mark.parametrize("trained", ["unet", "lora"])
def test_second_stage_starts_from_the_adapted_network(tmp_path, trained):
    first = stir(opened("zoo:sd"))
    first.save(tmp_path / "first")
    second = opened(f"path:{tmp_path / 'first'}", region=True, trained=trained)
    (latent, time, text), _ = inputs(first.modules["unet"])
    with torch.no_grad():
        wide = torch.cat([latent, torch.ones(2, 4, 8, 8)], 1)
        found = second.modules["unet"](wide, time, text).sample
    torch.testing.assert_close(found, output(first.modules["unet"]), atol=1e-4, rtol=1e-4)
    expected = stir(second).modules["unet"](wide, time, text).sample.detach()
    second.save(tmp_path / "second")
    third = opened(f"path:{tmp_path / 'second'}", region=True, trained="unet")
    with torch.no_grad():
        torch.testing.assert_close(third.modules["unet"](wide, time, text).sample, expected, atol=1e-4, rtol=1e-4)


def test_editor_of_the_project_loads_what_was_saved(tmp_path):
    from models.protocols import EditRequest
    from models.registry import editor_settings, load

    objective = stir(opened("zoo:sd", region=True, run_on={"preview": {"num_steps": 2, "size_px": 64}}))
    objective.save(tmp_path)
    model = f"path:{tmp_path}"
    other = load("Editor", model, settings=editor_settings(model)(num_steps=2, size_px=64))
    request = EditRequest(image=Image.new("RGB", (64, 64), "teal"), instruction="make it red")
    ours, theirs = (editor.edit([request], seeds=[5])[0] for editor in (objective.editor, other))
    difference = torch.tensor([*ours.tobytes()]).float() - torch.tensor([*theirs.tobytes()]).float()
    assert difference.abs().max() <= 1
