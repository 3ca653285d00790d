import math

import numpy as np
import pytest
import torch
from _checkpoints import (
    make_image,
    placement,
    save_stable_diffusion,
    save_stable_diffusion_inpainting,
    weights_at,
)
from PIL import Image

from core.errors import SettingError
from core.settings import checked
from models.diffusion.sdedit import SdEdit, SdEditSettings
from models.protocols import EditRequest

IMAGES = [make_image(32, 32, 1), make_image(40, 30, 2), make_image(32, 32, 3), make_image(21, 50, 4)]
PROMPTS = ["a red car", "the cat on the grass", "a photo of a cat", "a blue car"]
SEEDS = [11, 12, 13, 14]
SETTINGS = {"num_steps": 5, "guidance_scale": 5.0, "sampling_ratio": 0.6}


def requests_of(images, prompts, masks=None):
    masks = masks or [None] * len(images)
    return [
        EditRequest(image=image, target_caption=prompt, mask=mask)
        for image, prompt, mask in zip(images, prompts, masks, strict=True)
    ]


class Sampled:
    """The editor of a folder, with settings that may differ from call to call."""

    def __init__(self, folder):
        self.editor = SdEdit(weights_at(folder), placement(), SdEditSettings(**SETTINGS))

    def edit(self, images, prompts, *, seeds, masks=None, **settings):
        self.editor._settings = SdEditSettings(**settings)
        return self.editor.edit(requests_of(images, prompts, masks), seeds=seeds)

    def __getattr__(self, name):
        return getattr(self.editor, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def editor(folder):
    return Sampled(folder)


@pytest.fixture(scope="module")
def edited(editor):
    return editor.edit(IMAGES, PROMPTS, seeds=SEEDS, **SETTINGS)


@pytest.fixture(scope="module")
def library(folder):
    """diffusers' own pipeline, with DDIM."""
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_pipeline_in_memory_edits_as_its_folder_and_is_not_changed(folder, edited):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    scheduler = pipeline.scheduler
    pipeline.safety_checker = lambda *_given, **_more: pytest.fail("asked the safety checker")
    editor = SdEdit.over(pipeline, SdEditSettings(**SETTINGS), batch_size=4)
    found = editor.edit(requests_of(IMAGES, PROMPTS), seeds=SEEDS)
    assert [difference(one, other) for one, other in zip(found, edited, strict=True)] == [0] * len(IMAGES)
    assert pipeline.scheduler is scheduler


def difference(one, other):
    assert one.size == other.size
    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max()


def masks_of(images, value):
    return [np.full((image.height, image.width), value, np.bool_) for image in images]


def left_half(image):
    mask = np.zeros((image.height, image.width), np.bool_)
    mask[:, : image.width // 2] = True
    return mask


@pytest.mark.parametrize("ratio", [0.2, 0.6, 0.8])
def test_an_edit_is_what_the_librarys_image_to_image_gives(editor, library, ratio):
    settings = SETTINGS | {"sampling_ratio": ratio}
    for image, prompt, seed in zip(IMAGES[::2], PROMPTS[::2], SEEDS[::2], strict=True):
        generator = torch.Generator("cpu").manual_seed(seed)
        expected = library(
            prompt=prompt, image=image, strength=ratio, generator=generator, num_inference_steps=5, guidance_scale=5.0
        ).images[0]
        assert difference(editor.edit([image], [prompt], seeds=[seed], **settings)[0], expected) <= 1
        assert difference(image, expected) > 5


def test_ddim_runs_with_the_checkpoints_noise_schedule(editor):
    config = editor._pipeline.scheduler.config
    assert type(editor._pipeline.scheduler).__name__ == "DDIMScheduler"
    assert (config.beta_start, config.beta_end, config.clip_sample) == (0.00085, 0.012, False)


def test_images_come_back_at_their_own_size_in_rgb(edited):
    assert [image.size for image in edited] == [image.size for image in IMAGES]
    assert {image.mode for image in edited} == {"RGB"}


def test_the_longer_side_is_scaled_to_that_of_the_model(folder, editor):
    assert [editor._fitted(image) for image in IMAGES] == [(32, 32), (32, 32), (32, 32), (16, 32)]
    larger = SdEdit(weights_at(folder), placement(), SdEditSettings(**SETTINGS, size_px=100))
    assert [larger._fitted(image) for image in IMAGES] == [(96, 96), (96, 80), (96, 96), (48, 96)]
    assert larger._fitted(Image.new("RGB", (1000, 3))) == (96, 16)
    assert larger.edit(requests_of(IMAGES[1:2], PROMPTS[:1]), seeds=[1])[0].size == (40, 30)


def test_a_row_does_not_depend_on_its_batch(editor, edited):
    for image, prompt, seed, result in zip(IMAGES, PROMPTS, SEEDS, edited, strict=True):
        assert difference(editor.edit([image], [prompt], seeds=[seed], **SETTINGS)[0], result) <= 1
    assert difference(editor.edit(IMAGES[:1], PROMPTS[:1], seeds=[99], **SETTINGS)[0], edited[0]) > 5
    assert difference(editor.edit(IMAGES[:1], PROMPTS[1:2], seeds=SEEDS[:1], **SETTINGS)[0], edited[0]) > 1


def test_ratio_nought_gives_the_image_back(editor):
    for ratio in (0.0, 0.19):
        settings = SETTINGS | {"sampling_ratio": ratio}
        for image, result in zip(IMAGES, editor.edit(IMAGES, PROMPTS, seeds=SEEDS, **settings), strict=True):
            assert difference(image, result) == 0


def test_ratio_one_starts_from_nothing_of_the_image_as_text_to_image_does(editor, folder):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    settings = SETTINGS | {"sampling_ratio": 1.0}
    one, other = (editor.edit([image], PROMPTS[:1], seeds=[11], **settings)[0] for image in IMAGES[::2])
    assert difference(one, other) <= 1
    drawing = StableDiffusionPipeline.from_pretrained(folder)
    drawing.scheduler = DDIMScheduler.from_config(drawing.scheduler.config, clip_sample=False)
    generator = torch.Generator("cpu").manual_seed(11)
    torch.randn((1, 4, 4, 4), generator=generator)  # what the posterior of the source took
    expected = drawing(PROMPTS[0], generator=generator, num_inference_steps=5, guidance_scale=5.0).images[0]
    assert difference(one, expected) <= 1


def test_no_step_is_lost_to_the_rounding_of_the_ratio(editor, monkeypatch):
    steps = []
    step = editor._pipeline.scheduler.step
    monkeypatch.setattr(editor._pipeline.scheduler, "step", lambda *a, **k: steps.append(1) or step(*a, **k))
    for num_steps, ratio, expected in ((50, 0.58, 29), (10, 0.7, 7), (25, 0.7, 17), (4, 0.99, 3), (4, 1.0, 4)):
        assert math.floor(num_steps * ratio) in (expected, expected - 1)
        steps.clear()
        settings = {"num_steps": num_steps, "sampling_ratio": ratio, "guidance_scale": 1.0}
        editor.edit(IMAGES[:1], PROMPTS[:1], seeds=[1], **settings)
        assert len(steps) == expected


def test_an_empty_mask_gives_back_what_the_autoencoder_makes_of_the_image(editor, library):
    results = editor.edit(IMAGES[::2], PROMPTS[::2], seeds=SEEDS[::2], masks=masks_of(IMAGES[::2], False), **SETTINGS)
    for image, seed, result in zip(IMAGES[::2], SEEDS[::2], results, strict=True):
        pixels = library.image_processor.preprocess(image)
        with torch.inference_mode():
            latent = library.vae.encode(pixels).latent_dist.sample(torch.Generator("cpu").manual_seed(seed))
            expected = library.image_processor.postprocess(library.vae.decode(latent).sample)[0]
        assert difference(result, expected) <= 1


def test_a_full_mask_is_no_mask(editor, edited):
    results = editor.edit(IMAGES, PROMPTS, seeds=SEEDS, masks=masks_of(IMAGES, True), **SETTINGS)
    for image, result in zip(edited, results, strict=True):
        assert difference(image, result) == 0


def test_masks_hold_with_pure_noise_too(editor):
    settings = SETTINGS | {"sampling_ratio": 1.0}
    masks = masks_of(IMAGES[:1], False)
    result = editor.edit(IMAGES[:1], PROMPTS[:1], seeds=[11], masks=masks, **settings)[0]
    expected = editor.edit(IMAGES[:1], PROMPTS[:1], seeds=[11], masks=masks, **SETTINGS)[0]
    assert difference(result, expected) <= 1


def test_masked_rows_do_not_depend_on_their_batch(editor):
    masks = [left_half(image) for image in IMAGES]
    together = editor.edit(IMAGES, PROMPTS, seeds=SEEDS, masks=masks, **SETTINGS)
    for row, image in enumerate(IMAGES):
        alone = editor.edit([image], [PROMPTS[row]], seeds=[SEEDS[row]], masks=[masks[row]], **SETTINGS)[0]
        assert difference(alone, together[row]) <= 1


def test_outside_the_mask_the_latent_is_the_noised_source(editor, monkeypatch):
    """Equation 13, followed through the latents that the network is given."""
    seen = []
    unet = editor._pipeline.unet
    monkeypatch.setattr(unet, "forward", lambda x, t, _of=unet.forward, **k: seen.append((t, x[:1])) or _of(x, t, **k))
    mask = left_half(IMAGES[0])
    editor.edit(IMAGES[:1], PROMPTS[:1], seeds=[7], masks=[mask], **SETTINGS)
    generator, pipeline = torch.Generator("cpu").manual_seed(7), editor._pipeline
    with torch.inference_mode():
        pixels = pipeline.image_processor.preprocess(IMAGES[0])
        source = pipeline.vae.encode(pixels).latent_dist.sample(generator) * pipeline.vae.config.scaling_factor
    noise = torch.randn(source.shape, generator=generator)
    assert len(seen) == 3
    for timestep, latent in seen:
        a = float(pipeline.scheduler.alphas_cumprod[timestep])
        kept = math.sqrt(a) * source + math.sqrt(1 - a) * noise
        torch.testing.assert_close(latent[..., 2:], kept[..., 2:], atol=1e-5, rtol=1e-5)
    assert (seen[-1][1][..., :2] - kept[..., :2]).abs().max() > 1e-3


def test_nothing_in_gives_nothing_out(editor):
    assert editor.edit([], [], seeds=[], **SETTINGS) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_steps": 0}, "editor: num_steps: input should be greater than or equal to 1, got 0"),
        ({"sampling_ratio": 1.1}, "editor: sampling_ratio: input should be less than or equal to 1, got 1.1"),
        ({"sampling_ratio": float("nan")}, "editor: sampling_ratio: input should be a finite number, got nan"),
        ({"guidance_scale": float("inf")}, "editor: guidance_scale: input should be a finite number, got inf"),
        ({"num_step": 5}, "editor: unknown key 'num_step' (did you mean 'num_steps'?)"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(SettingError) as caught:
        checked(SdEditSettings, changed, "editor")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("request_", "seeds", "message"),
    [
        ({}, [1, 2], r"lists of one call differ in length \(1 requests, 2 seeds\)"),
        ({"target_caption": None}, [1], "request 0 has no target_caption; SDEdit is led by a description"),
        (
            {"mask": np.zeros((40, 30), bool)}, [1],
            r"mask 0 is bool of shape \(40, 30\), its image is 40 x 30 pixels; pass booleans of \(height, width\)",
        ),
        ({"mask": np.zeros((30, 40), np.uint8)}, [1], "mask 0 is uint8 of shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(editor, request_, seeds, message):
    with pytest.raises(ValueError, match=message):
        editor.editor.edit([EditRequest(**{"image": IMAGES[1], "target_caption": "a cat"} | request_)], seeds=seeds)


def test_requests_with_and_without_a_mask_share_a_call(editor, edited):
    masks = [left_half(IMAGES[0]), None, None, left_half(IMAGES[3])]
    mixed = editor.edit(IMAGES, PROMPTS, seeds=SEEDS, masks=masks, **SETTINGS)
    masked = editor.edit(IMAGES, PROMPTS, seeds=SEEDS, masks=[left_half(image) for image in IMAGES], **SETTINGS)
    for row, image in enumerate(mixed):
        assert difference(image, (edited if masks[row] is None else masked)[row]) <= 1
    assert difference(edited[0], masked[0]) > 5


def test_latents_of_other_channels_are_refused(folder):
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.vae = AutoencoderKL(latent_channels=16)
    with pytest.raises(ValueError, match="latents of 16 channels; SDEdit runs in diffusers' image-to-image pipeline"):
        SdEdit.over(pipeline, SdEditSettings(), batch_size=1)


def test_a_checkpoint_with_another_network_is_refused(tmp_path):
    folder = weights_at(save_stable_diffusion_inpainting(tmp_path))
    with pytest.raises(ValueError, match="takes 9 channels, SDEdit needs 4; name a text-to-image checkpoint"):
        SdEdit(folder, placement(), SdEditSettings())
