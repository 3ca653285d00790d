import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from _checkpoints import make_image, placement, save_pix2pix, save_sdxl, save_stable_diffusion, weights_at

from core.errors import ModelError, SettingError, UsageError
from core.settings import checked
from models import registry
from models.diffusion.instruct_pix2pix import InstructPix2Pix, InstructPix2PixSettings, RegionInstructPix2Pix
from models.protocols import EditRequest
from models.schemes.zoo import ZOO

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers

IMAGES = [make_image(64, 64, 1), make_image(80, 60, 2), make_image(64, 64, 3), make_image(21, 50, 4)]
INSTRUCTIONS = ["make it red", "turn the cat into a dog", "add a car", "a photo of a cat"]
SEEDS = [11, 12, 13, 14]
STEPS = 4


def left_half(image):
    mask_HW = np.zeros((image.height, image.width), np.bool_)
    mask_HW[:, : image.width // 2] = True
    return mask_HW


REQUESTS = [EditRequest(image=image, instruction=text) for image, text in zip(IMAGES, INSTRUCTIONS, strict=True)]
MASKED = [replace(one, mask=left_half(one.image)) for one in REQUESTS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Name -> a folder, made when it is first asked for."""
    made = {}
    makers = {
        "sd": lambda at: save_pix2pix(at, ZOO / "sd"),
        "sd-v": lambda at: save_pix2pix(at, ZOO / "sd", prediction_type="v_prediction"),
        "sd-region": lambda at: save_pix2pix(at, ZOO / "sd", channels=12),
        "sd-pndm": lambda at: save_pix2pix(at, save_stable_diffusion(tmp_path_factory.mktemp("base"))),
        "sdxl": lambda at: save_pix2pix(at, save_sdxl(tmp_path_factory.mktemp("base"))),
        "sdxl-empty": lambda at: with_empty_text(save_pix2pix(at, save_sdxl(tmp_path_factory.mktemp("base")))),
        "sdxl-region": lambda at: save_pix2pix(at, save_sdxl(tmp_path_factory.mktemp("base")), channels=12),
    }

    def folder(name):
        if name not in made:
            made[name] = makers[name](tmp_path_factory.mktemp(name))
        return made[name]

    return folder


def with_empty_text(folder):
    """A checkpoint of SDXL for which no text is the empty text, and not zeros."""
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"force_zeros_for_empty_prompt": False}))
    return folder


@pytest.fixture(scope="module")
def editor_of(folders):
    def make(name, **settings):
        kind = RegionInstructPix2Pix if name.endswith("region") else InstructPix2Pix
        return kind(weights_at(folders(name)), placement(4), InstructPix2PixSettings(num_steps=STEPS, **settings))

    return make


def difference(one, other):
    assert one.size == other.size
    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max()


def differences(found, others):
    return [difference(one, other) for one, other in zip(found, others, strict=True)]


def library(folder, name=""):
    import diffusers

    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    if name == "DDIMScheduler":
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    elif name:
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


SCALES = [(7.5, 1.5), (1.0, 1.0), (7.5, 1.0), (1.0, 1.5), (3.0, 2.2)]
"""Guidance by text and by image."""


@pytest.mark.parametrize(
    ("name", "text", "image"),
    [
        *((name, *scales) for name in ("sd", "sdxl") for scales in SCALES),
        *((name, *SCALES[0]) for name in ("sd-v", "sd-pndm", "sdxl-empty")),
    ],
)
def test_latents_are_those_of_the_librarys_pipeline(folders, editor_of, name, text, image):
    pipeline, editor = library(folders(name)), editor_of(name, guidance_scale=text, image_guidance_scale=image)
    width, height = editor._size_px, editor._size_px // 2
    images = [one.resize((width, height)) for one in IMAGES[:2]]
    more = {"height": height, "width": width} if name.startswith("sdxl") else {}
    more |= {"negative_prompt": ["", ""]} if name == "sdxl-empty" else {}  # the library cannot do so by itself
    expected = pipeline(
        prompt=INSTRUCTIONS[:2], image=images, num_inference_steps=STEPS, guidance_scale=text,
        image_guidance_scale=image, generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS[:2]],
        output_type="latent", **more,
    ).images  # fmt: skip
    with torch.inference_mode():
        found = editor._sample([images], INSTRUCTIONS[:2], SEEDS[:2])
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize(
    ("setting", "name"), [("ddim", "DDIMScheduler"), ("euler_ancestral", "EulerAncestralDiscreteScheduler")]
)
@pytest.mark.parametrize("model", ["sd", "sd-v", "sdxl"])
def test_images_are_the_librarys_with_the_sampler_of_the_setting(folders, editor_of, setting, name, model):
    pipeline, editor = library(folders(model), name), editor_of(model, scheduler=setting)
    size = editor._size_px
    image = IMAGES[0].resize((size, size))
    more = {"height": size, "width": size} if model == "sdxl" else {}
    expected = pipeline(
        prompt=INSTRUCTIONS[0], image=[image], num_inference_steps=STEPS, guidance_scale=7.5, image_guidance_scale=1.5,
        generator=[torch.Generator("cpu").manual_seed(5)], **more,
    ).images[0]  # fmt: skip
    found = editor.edit([replace(REQUESTS[0], image=image)], seeds=[5])[0]
    assert difference(found, expected) <= 1
    assert difference(image, expected) > 5


@pytest.mark.parametrize("scheduler", ["checkpoint", "euler_ancestral"])
@pytest.mark.parametrize("name", ["sd", "sd-region", "sdxl", "sdxl-region"])
def test_a_row_does_not_depend_on_its_batch(editor_of, name, scheduler):
    editor = editor_of(name, scheduler=scheduler)
    requests = MASKED if name.endswith("region") else REQUESTS
    together = editor.edit(requests, seeds=SEEDS)
    assert [image.size for image in together] == [image.size for image in IMAGES]
    assert {image.mode for image in together} == {"RGB"}
    alone = [editor.edit([one], seeds=[seed])[0] for one, seed in zip(requests, SEEDS, strict=True)]
    assert max(differences(together, alone)) <= 1
    assert difference(editor.edit(requests[:1], seeds=[99])[0], together[0]) > 1


def test_the_instruction_and_both_guidances_decide_the_image(editor_of):
    first = editor_of("sd").edit(REQUESTS[:1], seeds=[1])[0]
    others = [
        editor_of("sd").edit([replace(REQUESTS[0], instruction="a dog on the grass")], seeds=[1])[0],
        editor_of("sd", guidance_scale=3).edit(REQUESTS[:1], seeds=[1])[0],
        editor_of("sd", image_guidance_scale=2.2).edit(REQUESTS[:1], seeds=[1])[0],
        editor_of("sd").edit([replace(REQUESTS[0], image=IMAGES[2])], seeds=[1])[0],
    ]
    assert min(difference(first, other) for other in others) > 1


@pytest.mark.parametrize("name", ["sd-region", "sdxl-region"])
def test_the_region_matters_and_none_is_the_whole_image(editor_of, name):
    editor = editor_of(name)
    without = editor.edit(REQUESTS, seeds=SEEDS)
    whole = [replace(one, mask=np.ones((one.image.height, one.image.width), bool)) for one in REQUESTS]
    assert differences(without, editor.edit(whole, seeds=SEEDS)) == [0] * len(REQUESTS)
    masked = editor.edit(MASKED, seeds=SEEDS)
    assert min(differences(without, masked)) > 1
    mixed = editor.edit([MASKED[0], REQUESTS[1], MASKED[2], REQUESTS[3]], seeds=SEEDS)
    assert max(differences(mixed, [masked[0], without[1], masked[2], without[3]])) <= 1


def test_the_network_sees_source_and_region_and_zeros_without_them(editor_of, monkeypatch):
    """The rows of the three evaluations: all, without text, without text and images."""
    editor, seen = editor_of("sd-region"), []
    pipeline = editor._pipeline
    unet = pipeline.unet
    monkeypatch.setattr(unet, "forward", lambda x, t, _of=unet.forward, **k: seen.append((x, k)) or _of(x, t, **k))
    editor.edit(MASKED[:1], seeds=[3])
    assert len(seen) == STEPS
    region = np.where(left_half(IMAGES[0]), 1, -1)[None, None].repeat(3, 1)
    with torch.inference_mode():
        source = pipeline.vae.encode(pipeline.image_processor.preprocess(IMAGES[0])).latent_dist.mode()
        region = pipeline.vae.encode(torch.from_numpy(region).float()).latent_dist.mode()
    for latents, more in seen:
        for row, (one, other) in enumerate([(source, region), (source, region), (0 * source, 0 * region)]):
            torch.testing.assert_close(latents[row : row + 1, 4:8], one, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(latents[row : row + 1, 8:], other, atol=1e-5, rtol=1e-5)
            assert (latents[row, :4] == latents[0, :4]).all()
        text = more["encoder_hidden_states"]
        assert (text[1] == text[2]).all()
        assert (text[0] != text[1]).any()


@pytest.mark.parametrize(("scales", "rows"), [((7.5, 1.5), 3), ((7.5, 1.0), 2), ((1.0, 1.5), 1), ((0.0, 1.0), 1)])
def test_only_evaluations_that_count_are_made(editor_of, monkeypatch, scales, rows):
    editor, seen = editor_of("sd", guidance_scale=scales[0], image_guidance_scale=scales[1]), []
    unet = editor._pipeline.unet
    monkeypatch.setattr(unet, "forward", lambda x, t, _of=unet.forward, **k: seen.append(len(x)) or _of(x, t, **k))
    editor.edit(REQUESTS[::2], seeds=SEEDS[::2])
    assert seen == [2 * rows] * STEPS


@pytest.mark.parametrize("name", ["sd", "sd-region", "sdxl"])
def test_a_pipeline_in_memory_edits_as_its_folder_and_is_not_changed(folders, editor_of, name):
    expected = editor_of(name).edit(MASKED, seeds=SEEDS)
    editor = editor_of(name)
    pipeline, kind = editor._pipeline, type(editor)
    scheduler = pipeline.scheduler
    pipeline.safety_checker = lambda *_given, **_more: pytest.fail("asked the safety checker")
    over = kind.over(pipeline, InstructPix2PixSettings(num_steps=STEPS), batch_size=4)
    assert differences(over.edit(MASKED, seeds=SEEDS), expected) == [0] * len(MASKED)
    assert pipeline.scheduler is scheduler


def test_a_rejected_image_is_black(editor_of, monkeypatch):
    editor = editor_of("sd")
    pipeline = editor._pipeline

    def reject_first(images, device, dtype):
        images[0] = 0
        return images, [True, False]

    pipeline.safety_checker = object()
    monkeypatch.setattr(pipeline, "run_safety_checker", reject_first)
    first, second = editor.edit(REQUESTS[::2], seeds=[1, 2])
    assert np.asarray(first).max() == 0
    assert np.asarray(second).max() > 0


def test_images_are_edited_at_the_size_of_the_setting(editor_of):
    editor, sizes = editor_of("sd", size_px=128), []
    sample = editor._sample
    editor._sample = lambda seen, *rest: sizes.append(seen[0][0].size) or sample(seen, *rest)
    assert editor.edit(REQUESTS[1:2], seeds=[1])[0].size == (80, 60)
    assert sizes == [(128, 96)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sd", InstructPix2Pix), ("sdxl", InstructPix2Pix), ("sd-region", RegionInstructPix2Pix)],
)
def test_the_registry_serves_each_kind(folders, name, expected):
    assert registry.editor_class(f"path:{folders(name)}") is expected
    editor = registry.load("Editor", f"path:{folders(name)}", placement(), settings=InstructPix2PixSettings())
    assert type(editor) is expected


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            RegionInstructPix2Pix,
            "sd",
            r"takes 8 channels, its kind of editor 12 \(noisy latent, source, region\); name",
        ),
        (InstructPix2Pix, "sd-region", r"takes 12 channels, its kind of editor 8 \(noisy latent, source\); name"),
    ],
)
def test_another_width_is_refused_before_weights_are_read(folders, tmp_path, kind, name, message):
    unet = tmp_path / "unet"
    unet.mkdir()
    (unet / "config.json").write_text((folders(name) / "unet" / "config.json").read_text())
    with pytest.raises(UsageError, match=message):
        kind(weights_at(tmp_path), placement(), InstructPix2PixSettings())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_guidance_scale": 0.9}, "editor: image_guidance_scale: input should be greater than or equal to 1"),
        ({"guidance_scale": float("nan")}, "editor: guidance_scale: input should be a finite number, got nan"),
        ({"num_steps": 0}, "editor: num_steps: input should be greater than or equal to 1, got 0"),
        ({"scheduler": "euler"}, "editor: scheduler: input should be 'checkpoint', 'ddim' or 'euler_ancestral'"),
        ({"guidance": 5}, "editor: unknown key 'guidance' (did you mean 'guidance_scale'?)"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(SettingError) as caught:
        checked(InstructPix2PixSettings, changed, "editor")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changed", "seeds", "message"),
    [
        ({}, [1, 2], r"lists of one call differ in length \(1 requests, 2 seeds\)"),
        ({"instruction": None}, [1], "request 0 has no instruction; this editor is led by it"),
        ({"mask": np.zeros((3, 3), bool)}, [1], r"mask 0 is bool of shape \(3, 3\), its image is 64 x 64 pixels"),
    ],
)
def test_what_cannot_be_run_is_refused(editor_of, changed, seeds, message):
    with pytest.raises(ValueError, match=message):
        editor_of("sd-region").edit([replace(REQUESTS[0], **changed)], seeds=seeds)


def test_nothing_in_gives_nothing_out(editor_of):
    assert editor_of("sd").edit([], seeds=[]) == []


def test_a_scheduler_whose_noise_no_seed_decides_is_refused(folders, monkeypatch):
    monkeypatch.setattr("models.diffusion.instruct_pix2pix.GLOBAL_NOISE", frozenset({"DDIMScheduler"}))
    settings = InstructPix2PixSettings()
    with pytest.raises(ValueError, match="DDIMScheduler draws noise that no seed of a row decides; set scheduler to"):
        InstructPix2Pix(weights_at(folders("sd")), placement(), settings)


def test_lora_weights_beside_the_pipeline_are_merged(folders, tmp_path):
    peft = pytest.importorskip("peft")
    folder = tmp_path / "model"
    shutil.copytree(folders("sd"), folder)
    pipeline = library(folder)
    pipeline.unet.add_adapter(peft.LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v", "to_out.0"]))
    for name, parameter in pipeline.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    layers = peft.get_peft_model_state_dict(pipeline.unet)
    type(pipeline).save_lora_weights(folder / "lora", unet_lora_layers=layers)
    settings = InstructPix2PixSettings(num_steps=STEPS)
    editor = InstructPix2Pix(weights_at(folder), placement(), settings)
    assert not any("lora" in name for name, _ in editor._pipeline.unet.named_parameters())
    expected = InstructPix2Pix.over(pipeline, settings, batch_size=1).edit(REQUESTS[:1], seeds=[1])[0]
    assert difference(editor.edit(REQUESTS[:1], seeds=[1])[0], expected) <= 1
    without = InstructPix2Pix(weights_at(folders("sd")), placement(), settings).edit(REQUESTS[:1], seeds=[1])[0]
    assert difference(without, expected) > 5


def test_lora_weights_without_peft_name_what_to_install(folders, tmp_path, monkeypatch):
    shutil.copytree(folders("sd"), tmp_path / "model")
    (tmp_path / "model" / "lora").mkdir()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match="package peft is not installed"):
        registry.load("Editor", f"path:{tmp_path / 'model'}", placement(), settings=InstructPix2PixSettings())
