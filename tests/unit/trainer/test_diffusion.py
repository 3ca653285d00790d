import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UsageError
from models.schemes.zoo import ZOO
from trainer.diffusion import Diffusion
from zoo.world import render, scene_of

CPU = torch.device("cpu")
IMAGES = [Image.fromarray(render(scene_of(3, index))) for index in range(2)]


@pytest.fixture(scope="module")
def diffusion():
    return Diffusion("zoo:sd", CPU)


def tensor(images):
    return torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) / 127.5 - 1 for i in images])


def copy_with(tmp_path, **scheduler):
    """zoo:sd with other settings of its scheduler."""
    shutil.copytree(ZOO / "sd", tmp_path / "sd")
    path = tmp_path / "sd" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **scheduler}))
    return f"path:{tmp_path / 'sd'}"


def test_latents_are_those_that_the_pipeline_puts_into_datasets(diffusion):
    from models.registry import load

    expected = load("LatentEncoder", "zoo:sd").encode_latents(IMAGES)
    np.testing.assert_allclose(diffusion.encode(tensor(IMAGES)), np.stack(expected), atol=1e-4)
    assert diffusion.latent_spec(64).shape == (4, 16, 16)


def test_decoding_a_latent_gives_the_image_back_about_as_well_as_the_autoencoder_can(diffusion):
    decoded = diffusion.decode(diffusion.encode(tensor(IMAGES)))
    assert (decoded - tensor(IMAGES)).abs().mean() < 0.06


def test_text_and_noise_are_those_of_the_library(diffusion):
    pipeline = diffusion.pipeline
    text_BLD = diffusion.encode_texts(["a red car", "two cats"])
    expected, _ = pipeline.encode_prompt(["a red car", "two cats"], CPU, 1, do_classifier_free_guidance=False)
    torch.testing.assert_close(text_BLD, expected)
    noisy, timestep = torch.randn(2, 4, 16, 16), torch.tensor([5, 700])
    with torch.no_grad():
        torch.testing.assert_close(
            diffusion.predict_noise(noisy, timestep, text_BLD), pipeline.unet(noisy, timestep, text_BLD).sample
        )


def test_alpha_is_the_schedulers_and_nothing_is_clipped(diffusion):
    alpha = diffusion.alpha(torch.tensor([0, 999]))
    torch.testing.assert_close(alpha, diffusion.pipeline.scheduler.alphas_cumprod[[0, 999]])
    assert diffusion.num_timesteps == 1000


def test_velocity_of_a_model_that_predicts_it_is_converted(tmp_path, diffusion):
    other = Diffusion(copy_with(tmp_path, prediction_type="v_prediction"), CPU)
    noisy, timestep, text_BLD = torch.randn(1, 4, 16, 16), torch.tensor([300]), diffusion.encode_texts(["a car"])
    with torch.no_grad():
        out = diffusion.predict_noise(noisy, timestep, text_BLD)
        alpha = diffusion.alpha(timestep)
        torch.testing.assert_close(
            other.predict_noise(noisy, timestep, text_BLD), alpha.sqrt() * out + (1 - alpha).sqrt() * noisy
        )


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"prediction_type": "sample"}, "predicts 'sample'; its losses are known for epsilon and v_prediction"),
        ({"rescale_betas_zero_snr": True}, "has timesteps of pure noise or of none"),
    ],
)
def test_schedule_that_the_equations_cannot_use_is_refused(tmp_path, scheduler, message):
    with pytest.raises(UsageError, match=message):
        Diffusion(copy_with(tmp_path, **scheduler), CPU)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("zoo:sdd", "no model is called 'zoo:sdd' \\(the zoo holds:"),
        ("zoo:clip", "'zoo:clip' is of kind 'clip'; this trainer takes a StableDiffusionPipeline"),
        ("zoo:sd-inpaint", "is of kind 'StableDiffusionInpaintPipeline'; this trainer takes"),
    ],
)
def test_model_that_is_no_stable_diffusion_is_refused(model, message):
    with pytest.raises(UsageError, match=message):
        Diffusion(model, CPU)


def test_size_that_the_unet_cannot_halve_is_refused(diffusion):
    with pytest.raises(UsageError, match="size_px is 60; model 'zoo:sd' needs a multiple of 8"):
        diffusion.latent_spec(60)


def test_gradient_checkpointing_changes_no_gradient(diffusion):
    def gradient(model):
        image = model.decode(torch.zeros(1, 4, 16, 16, requires_grad=True) + 0.1)
        latent = torch.full((1, 4, 16, 16), 0.1, requires_grad=True)
        out = model.decode(model.predict_noise(latent, torch.tensor([10]), text_BLD))
        (found,) = torch.autograd.grad((out - image.detach()).square().mean(), latent)
        return found

    text_BLD = diffusion.encode_texts(["a car"])
    other = Diffusion("zoo:sd", CPU)
    other.speed_up(compile_unet=False, gradient_checkpointing=True)
    torch.testing.assert_close(gradient(other), gradient(diffusion))
