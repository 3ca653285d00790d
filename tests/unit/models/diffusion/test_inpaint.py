import json

import numpy as np
import pytest
from _checkpoints import (
    make_image,
    placement,
    save_pix2pix,
    save_sdxl,
    save_stable_diffusion,
    save_stable_diffusion_inpainting,
    weights_at,
)
from PIL import Image

from models.diffusion.inpaint import StableDiffusionInpaint

IMAGES = [make_image(40, 30, 1), make_image(32, 32, 2), make_image(21, 50, 3)]
PROMPTS = ["a red car", "the cat on the grass", "a photo of a cat"]
SEEDS = [11, 12, 13]
SETTINGS = {"num_steps": 3, "guidance_scale": 5.0}


def box_mask(image, x0, y0, x1, y1):
    mask = np.zeros((image.height, image.width), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


MASKS = [box_mask(IMAGES[0], 5, 5, 30, 20), box_mask(IMAGES[1], 8, 8, 24, 24), box_mask(IMAGES[2], 0, 10, 21, 40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_stable_diffusion_inpainting(tmp_path_factory.mktemp("inpainting"))


@pytest.fixture(scope="module")
def inpainter(folder):
    return StableDiffusionInpaint(weights_at(folder), placement())


@pytest.fixture(scope="module")
def painted(inpainter):
    return inpainter.inpaint(IMAGES, MASKS, PROMPTS, seeds=SEEDS, **SETTINGS)


def difference(one, other):
    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))


def test_pixels_outside_the_mask_are_those_of_the_input(painted):
    for image, mask, result in zip(IMAGES, MASKS, painted, strict=True):
        assert result.size == image.size
        assert result.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(result)[~mask], np.asarray(image)[~mask])


def test_the_mask_is_repainted(painted):
    for image, mask, result in zip(IMAGES, MASKS, painted, strict=True):
        assert (difference(image, result)[mask].max(axis=1) > 0).mean() > 0.8


def test_the_mask_holds_what_the_pipeline_paints(folder, painted):
    import torch
    from diffusers import StableDiffusionInpaintPipeline

    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder)
    expected = pipeline(
        prompt=PROMPTS,
        image=[image.resize((32, 32), Image.Resampling.LANCZOS) for image in IMAGES],
        mask_image=[Image.fromarray(mask).convert("L").resize((32, 32), Image.Resampling.LANCZOS) for mask in MASKS],
        height=32,
        width=32,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS],
        num_inference_steps=3,
        guidance_scale=5.0,
    ).images
    for mask, result, square in zip(MASKS, painted, expected, strict=True):
        back = square.resize(result.size, Image.Resampling.LANCZOS)
        assert difference(result, back)[mask].max() <= 2


def test_a_row_does_not_depend_on_its_batch(inpainter, painted):
    for image, mask, prompt, seed, result in zip(IMAGES, MASKS, PROMPTS, SEEDS, painted, strict=True):
        alone = inpainter.inpaint([image], [mask], [prompt], seeds=[seed], **SETTINGS)[0]
        assert difference(alone, result).max() <= 2
    other = inpainter.inpaint(IMAGES[:1], MASKS[:1], PROMPTS[:1], seeds=[99], **SETTINGS)[0]
    assert difference(other, painted[0]).max() > 5


def test_an_empty_mask_gives_the_image_back(inpainter):
    mask = np.zeros((30, 40), np.bool_)
    result = inpainter.inpaint(IMAGES[:1], [mask], PROMPTS[:1], seeds=[1], **SETTINGS)[0]
    np.testing.assert_array_equal(np.asarray(result), np.asarray(IMAGES[0]))


def test_nothing_in_gives_nothing_out(inpainter):
    assert inpainter.inpaint([], [], [], seeds=[], **SETTINGS) == []


def test_a_mask_of_another_size_than_its_image_is_refused(inpainter):
    with pytest.raises(ValueError, match=r"mask 0 has shape \(40, 30\), its image is 40 x 30 pixels; pass a mask of"):
        inpainter.inpaint(IMAGES[:1], [MASKS[0].T], PROMPTS[:1], seeds=[1], **SETTINGS)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of diffusers' Euler scheduler under NumPy 2
@pytest.mark.parametrize("save", [save_stable_diffusion, save_sdxl])
def test_a_text_to_image_checkpoint_repaints_by_blending(save, tmp_path):
    model = StableDiffusionInpaint(weights_at(save(tmp_path)), placement())
    image, mask = IMAGES[1], MASKS[1]
    (found,) = model.inpaint([image], [mask], PROMPTS[:1], seeds=[1], **SETTINGS)
    np.testing.assert_array_equal(np.asarray(found)[~mask], np.asarray(image)[~mask])
    assert (difference(image, found)[mask].max(axis=1) > 0).mean() > 0.8


def test_blending_keeps_what_lies_outside_while_it_draws(tmp_path):
    """What the network sees around the mask is the image: another image around the same mask gives other pixels."""
    model = StableDiffusionInpaint(weights_at(save_stable_diffusion(tmp_path)), placement())
    other = make_image(32, 32, 9)
    found = [model.inpaint([image], [MASKS[1]], PROMPTS[:1], seeds=[1], **SETTINGS)[0] for image in (IMAGES[1], other)]
    assert difference(*found)[MASKS[1]].max() > 2


def test_a_unet_of_other_channels_is_refused(tmp_path):
    folder = save_pix2pix(tmp_path / "edit", save_stable_diffusion(tmp_path / "base"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}))
    message = "takes 8 channels, inpainting needs 9, or 4 to blend; name a checkpoint that inpaints or draws from text"
    with pytest.raises(ValueError, match=message):
        StableDiffusionInpaint(weights_at(folder), placement())
