import numpy as np
import pytest
from _checkpoints import placement, save_sdxl, save_stable_diffusion, weights_at

from models.diffusion.text_to_image import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' Euler steps

PROMPTS = ["a red car", "the cat on the grass", "a photo of a cat"]
SEEDS = [11, 12, 13]
SETTINGS = {"num_steps": 3, "guidance_scale": 5.0}
KINDS = {"StableDiffusionPipeline": save_stable_diffusion, "StableDiffusionXLPipeline": save_sdxl}


@pytest.fixture(scope="module", params=list(KINDS))
def folder(request, tmp_path_factory):
    return KINDS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def synthesizer(folder):
    return StableDiffusion(weights_at(folder), placement())


@pytest.fixture(scope="module")
def images(synthesizer):
    return synthesizer.generate(PROMPTS, seeds=SEEDS, **SETTINGS)


def assert_alike(one, other):
    """Equal up to the rounding of float32 sums to eight bits."""
    assert one.size == other.size
    assert np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max() <= 1


def test_images_are_those_of_the_pipeline_named_by_the_checkpoint(folder, synthesizer, images):
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder)
    assert type(pipeline) is type(synthesizer._pipeline)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    expected = pipeline(prompt=PROMPTS, generator=generators, num_inference_steps=3, guidance_scale=5.0).images
    for image, other in zip(images, expected, strict=True):
        assert image.size == (32, 32)
        assert image.mode == "RGB"
        assert_alike(image, other)


def test_an_image_depends_on_its_prompt_and_seed_and_not_on_its_batch(synthesizer, images):
    for prompt, seed, image in zip(PROMPTS, SEEDS, images, strict=True):
        assert_alike(synthesizer.generate([prompt], seeds=[seed], **SETTINGS)[0], image)
    other = synthesizer.generate(PROMPTS[:1], seeds=[99], **SETTINGS)[0]
    assert np.abs(np.asarray(other, float) - np.asarray(images[0], float)).max() > 5


def test_nothing_in_gives_nothing_out(synthesizer):
    assert synthesizer.generate([], seeds=[], **SETTINGS) == []


def test_lists_of_different_length_are_refused(synthesizer):
    with pytest.raises(ValueError, match=r"differ in length \(3 prompts, 1 seeds\)"):
        synthesizer.generate(PROMPTS, seeds=[1], **SETTINGS)
