import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from core.errors import ModelError, UsageError
from models.schemes.zoo import ZOO
from trainer.diffusion.checkpoint import Checkpoint
from trainer.diffusion.conv_in import widen_conv_in
from trainer.diffusion.latents import cells_inside
from trainer.recipe import TrainContext
from zoo.world import render, scene_of

CPU = torch.device("cpu")
CTX = TrainContext(device=CPU)
IMAGES = [Image.fromarray(render(scene_of(3, index))) for index in range(2)]


@pytest.fixture(scope="module")
def checkpoint():
    return Checkpoint("zoo:sd", CTX)


def tensor(images):
    return torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) / 127.5 - 1 for i in images])


def copy_with(tmp_path, **scheduler):
    """zoo:sd with other settings of its scheduler."""
    shutil.copytree(ZOO / "sd", tmp_path / "sd")
    path = tmp_path / "sd" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **scheduler}))
    return f"path:{tmp_path / 'sd'}"


def test_latents_are_those_that_the_pipeline_puts_into_datasets(checkpoint):
    from models.registry import load

    expected = load("LatentEncoder", "zoo:sd").encode_latents(IMAGES)
    np.testing.assert_allclose(checkpoint.latents.encode(tensor(IMAGES)), np.stack(expected), atol=1e-4)
    assert checkpoint.latent_spec(64).shapes["source_latent"] == (4, 16, 16)


def test_decoded_latent_is_close_to_its_image(checkpoint):
    decoded = checkpoint.latents.decode(checkpoint.latents.encode(tensor(IMAGES)))
    assert (decoded - tensor(IMAGES)).abs().mean() < 0.06


def test_text_and_noise_are_those_of_the_library(checkpoint):
    pipeline = checkpoint.pipeline
    texts = checkpoint.encode_texts(["a red car", "two cats"])
    expected, _ = pipeline.encode_prompt(["a red car", "two cats"], CPU, 1, do_classifier_free_guidance=False)
    torch.testing.assert_close(texts.tokens_BLD, expected)
    noisy, timestep = torch.randn(2, 4, 16, 16), torch.tensor([5, 700])
    with torch.no_grad():
        torch.testing.assert_close(
            checkpoint.predict_noise(noisy, timestep, texts), pipeline.unet(noisy, timestep, expected).sample
        )


def test_velocity_of_a_model_that_predicts_it_is_converted(tmp_path, checkpoint):
    other = Checkpoint(copy_with(tmp_path, prediction_type="v_prediction"), CTX)
    noisy, timestep, texts = torch.randn(1, 4, 16, 16), torch.tensor([300]), checkpoint.encode_texts(["a car"])
    with torch.no_grad():
        out = checkpoint.predict_noise(noisy, timestep, texts)
        alpha = checkpoint.schedule.alpha(timestep)
        torch.testing.assert_close(
            other.predict_noise(noisy, timestep, texts), alpha.sqrt() * out + (1 - alpha).sqrt() * noisy
        )


def test_schedule_of_another_prediction_is_refused(tmp_path):
    with pytest.raises(UsageError, match="predicts 'sample'; its losses are known for epsilon and v_prediction"):
        Checkpoint(copy_with(tmp_path, prediction_type="sample"), CTX)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("zoo:clip", "'zoo:clip' is of kind 'clip'; this trainer takes a StableDiffusionPipeline"),
        ("zoo:sd-inpaint", "is of kind 'StableDiffusionInpaintPipeline'; this trainer takes"),
    ],
)
def test_model_that_is_no_stable_diffusion_is_refused(model, message):
    with pytest.raises(UsageError, match=message):
        Checkpoint(model, CTX)


def test_model_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="no model is called 'zoo:sdd' \\(the zoo holds:"):
        Checkpoint("zoo:sdd", CTX)


def test_size_that_the_unet_cannot_halve_is_refused(checkpoint):
    with pytest.raises(UsageError, match="size_px is 60; model 'zoo:sd' needs a multiple of 8"):
        checkpoint.latent_spec(60)


def test_gradient_checkpointing_changes_no_gradient(checkpoint):
    def gradient(model):
        image = model.latents.decode(torch.zeros(1, 4, 16, 16, requires_grad=True) + 0.1)
        latent = torch.full((1, 4, 16, 16), 0.1, requires_grad=True)
        out = model.latents.decode(model.predict_noise(latent, torch.tensor([10]), texts))
        (found,) = torch.autograd.grad((out - image.detach()).square().mean(), latent)
        return found

    texts = checkpoint.encode_texts(["a car"])
    other = Checkpoint("zoo:sd", CTX)
    other.speed_up(compile_unet=False, gradient_checkpointing=True)
    torch.testing.assert_close(gradient(other), gradient(checkpoint))


def test_with_bfloat16_all_but_the_unet_is_in_half_precision():
    half = Checkpoint("zoo:sd", TrainContext(device=CPU, precision="bf16"))
    assert half.pipeline.vae.dtype == half.pipeline.text_encoder.dtype == torch.bfloat16
    assert half.unet.dtype == torch.float32
    assert not any(p.requires_grad for part in (half.unet, half.pipeline.vae) for p in part.parameters())


def test_masks_over_latents_are_the_share_of_the_cell_that_is_inside():
    mask = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    expected = mask.reshape(2, 1, 2, 4, 2, 4).mean((3, 5))
    torch.testing.assert_close(cells_inside(mask, torch.zeros(2, 4, 2, 2)), expected)


def test_saved_checkpoint_has_the_unet_as_it_is_now(tmp_path):
    from diffusers import StableDiffusionPipeline

    changed = Checkpoint("zoo:sd", CTX)
    widen_conv_in(changed.unet, 8)
    with torch.no_grad():
        changed.unet.conv_out.bias.add_(1)
    changed.save(tmp_path, "float16")
    saved = StableDiffusionPipeline.from_pretrained(tmp_path, use_safetensors=True)
    torch.testing.assert_close(saved.unet.conv_out.bias.float(), changed.unet.conv_out.bias, atol=1e-3, rtol=1e-3)
    assert saved.unet.config.in_channels == 8
    stored = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}


def test_checkpoint_is_saved_as_another_pipeline_and_trained_further(tmp_path):
    changed = Checkpoint("zoo:sd", CTX)
    widen_conv_in(changed.unet, 8)
    with torch.no_grad():
        changed.unet.conv_in.weight.add_(0.1)
    changed.save(tmp_path, "float32", "StableDiffusionInstructPix2PixPipeline")
    model = f"path:{tmp_path}"
    with pytest.raises(UsageError, match="is of kind 'StableDiffusionInstructPix2PixPipeline'; this trainer takes a"):
        Checkpoint(model, CTX)
    other = Checkpoint(model, CTX, kinds=("StableDiffusionPipeline", "StableDiffusionInstructPix2PixPipeline"))
    assert type(other.pipeline).__name__ == "StableDiffusionInstructPix2PixPipeline"
    assert other.unet.config.in_channels == 8
    torch.testing.assert_close(other.unet.state_dict(), changed.unet.state_dict())
    latent, step, texts = torch.zeros(1, 8, 16, 16), torch.tensor([5]), other.encode_texts(["make it red"])
    assert other.predict_noise(latent, step, texts).shape == (1, 4, 16, 16)
    other.save(tmp_path / "again", "float16")
    assert '"StableDiffusionInstructPix2PixPipeline"' in (tmp_path / "again" / "model_index.json").read_text()


def test_controlnet_next_to_the_checkpoint_leads_it_and_is_saved_too(tmp_path, checkpoint):
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    control = ControlNetModel.from_unet(checkpoint.unet, conditioning_embedding_out_channels=(8, 8, 8))
    latent, step, texts = torch.zeros(1, 4, 16, 16), torch.tensor([5]), checkpoint.encode_texts(["a car"])
    plain = checkpoint.predict_noise(latent, step, texts)
    down, middle = control(latent, step, texts.tokens_BLD, torch.zeros(1, 3, 64, 64), return_dict=False)
    led = checkpoint.predict_noise(
        latent, step, texts, down_block_additional_residuals=[one + 0.5 for one in down],
        mid_block_additional_residual=middle,
    )  # fmt: skip
    led.sum().backward()
    assert control.controlnet_down_blocks[0].bias.grad is not None
    assert not torch.equal(led, plain)
    checkpoint.save(tmp_path, "float16", "StableDiffusionControlNetPipeline", controlnet=control)
    saved = StableDiffusionControlNetPipeline.from_pretrained(tmp_path, use_safetensors=True)
    assert control.dtype == torch.float32  # the trained module is left as it is
    torch.testing.assert_close(saved.controlnet.state_dict(), control.state_dict(), atol=1e-3, rtol=1e-3)
