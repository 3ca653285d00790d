"""The wrapper: sizes, batches, what is computed once, and what is refused."""

import gc
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from _checkpoints import (
    make_image,
    placement,
    save_sdxl,
    save_stable_diffusion,
    save_stable_diffusion_inpainting,
    weights_at,
)
from _drawn_pairs import (
    ANCHOR,
    CANDIDATE,
    CORE,
    RIGHT,
    assert_close,
    difference,
    one_pair,
    one_pair_of,
    request_of,
)
from _held_maps import pixels
from PIL import Image

from core.errors import SettingError
from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.protocols import PairCandidate
from models.registry import load

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers


def test_the_anchors_latent_is_the_mode_of_the_posterior(models):
    model = models()
    (prepared,) = model.prepare([request_of()])
    image = model._pipeline.image_processor.preprocess(ANCHOR.resize((64, 48), Image.Resampling.LANCZOS))
    with torch.inference_mode():
        expected = model._pipeline.vae.encode(image).latent_dist.mode() * model._pipeline.vae.config.scaling_factor
    assert_close(prepared.latent_Chw, expected[0])


def test_images_come_back_at_the_anchors_size_in_rgb(models):
    for image in (ANCHOR, make_image(21, 50, 4).convert("RGBA"), make_image(90, 90, 2).convert("L")):
        pair = one_pair(models(), anchor=image)
        assert [(one.size, one.mode) for one in pair] == [(image.size, "RGB")] * 2
    assert [one.size for one in one_pair(models(), anchor=None)] == [(64, 64)] * 2


def test_without_a_size_pairs_are_drawn_at_the_networks_own(models):
    model = models(size_px=None)
    assert one_pair(model, anchor=None)[0].size == (32, 32)
    assert model.prepare([request_of()])[0].size_px == (32, 32)


def test_candidates_of_many_kinds_are_drawn_in_one_call(models):
    model = models()
    requests = [request_of(), request_of(None), request_of(make_image(30, 40, 3)), request_of(region=RIGHT)]
    candidates = [
        replace(CANDIDATE, guidance_scale=scale, num_steps=steps, strength=strength)
        for scale, steps, strength in [(0.0, 3, 0.7), (4.0, 3, 0.7), (1.0, 4, 0.5), (7.0, 4, 1.0)]
    ]
    prepared = model.prepare(requests)
    rows = [(pair, candidate) for pair in range(4) for candidate in range(4)]
    together = model.synthesise([prepared[pair] for pair, _ in rows], [candidates[at] for _, at in rows])
    for (pair, at), found in zip(rows, together, strict=True):
        assert max(map(difference, found, one_pair_of(model, requests[pair], candidates[at]))) <= 1


def test_what_no_candidate_changes_is_computed_once(models, monkeypatch):
    model, calls = models(), {"texts": 0, "anchors": 0, "largest": 0}
    pipeline = model._pipeline
    encode, text, unet = pipeline.vae.encode, pipeline.text_encoder.forward, pipeline.unet.forward

    def count(name, function):
        def counted(*given, **more):
            calls[name] += 1
            return function(*given, **more)

        return counted

    def sized(rows, *given, **more):
        calls["largest"] = max(calls["largest"], len(rows))
        return unet(rows, *given, **more)

    monkeypatch.setattr(pipeline.vae, "encode", count("anchors", encode))
    monkeypatch.setattr(pipeline.text_encoder, "forward", count("texts", text))
    monkeypatch.setattr(pipeline.unet, "forward", sized)
    (prepared,) = model.prepare([request_of()])
    was = dict(calls)
    model.synthesise([prepared] * 10, [replace(CANDIDATE, seed=seed, guidance_scale=3.0) for seed in range(10)])
    assert {**calls, "largest": 0} == was == {"texts": 1, "anchors": 1, "largest": 0}
    assert calls["largest"] == 3 * 2 * 2  # pairs of a batch, images of a pair, with and without text


def test_a_prepared_pair_holds_its_own_texts_alone(models):
    for prepared in models().prepare([request_of()] * 3):
        held = prepared.text.tokens_BLD
        assert held.untyped_storage().nbytes() == held.numel() * held.element_size()


def test_memory_does_not_grow_with_the_number_of_candidates(models, monkeypatch):
    model, alive = models(), []
    decode = model._pipeline.vae.decode

    def counted(*given, **more):
        alive.append(sum(one.numel() for one in gc.get_objects() if type(one) is torch.Tensor))
        return decode(*given, **more)

    monkeypatch.setattr(model._pipeline.vae, "decode", counted)
    (prepared,) = model.prepare([request_of()])
    model.synthesise([prepared] * 9, [replace(CANDIDATE, seed=seed) for seed in range(9)])
    assert len(alive) == 3
    assert len(set(alive)) == 1


def test_a_network_of_other_channels_is_refused(tmp_path):
    from diffusers import UNet2DConditionModel

    save_stable_diffusion_inpainting(tmp_path)
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    UNet2DConditionModel.from_config(unet.config, in_channels=8).save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError) as caught:
        load("PairSynthesizer", f"path:{tmp_path}", placement())
    assert str(caught.value) == (
        f"the UNet of path:{tmp_path} takes 8 channels, pairs need 4 or 9; name a checkpoint that draws or inpaints"
    )


def test_sdxl_is_told_the_size_that_it_draws(tmp_path):
    model = load("PairSynthesizer", f"path:{save_sdxl(tmp_path)}", placement(), size_px=64)
    told = []
    forward = model._pipeline.unet.forward

    def record(*given, **more):
        told.append(more["added_cond_kwargs"])
        return forward(*given, **more)

    model._pipeline.unet.forward = record
    one_pair(model, replace(CANDIDATE, guidance_scale=3.0))
    assert told[0]["time_ids"].tolist() == [[48, 64, 0, 0, 48, 64]] * 4
    assert told[0]["text_embeds"].shape == (4, 24)
    assert (told[0]["text_embeds"][:2] == 0).all()


def test_a_network_that_takes_the_guidance_scale_is_refused(tmp_path):
    from diffusers import UNet2DConditionModel

    save_stable_diffusion(tmp_path)
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    UNet2DConditionModel.from_config(unet.config, time_cond_proj_dim=8).save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError, match="takes the guidance scale as a condition; name another checkpoint"):
        load("PairSynthesizer", f"path:{tmp_path}", placement())


def test_an_autoencoder_that_overflows_in_half_precision_is_run_in_full(folder):
    half = replace(placement(), dtype="float16")
    pipeline = PromptToPrompt(weights_at(folder), half)._pipeline
    assert (pipeline.unet.dtype, pipeline.vae.dtype) == (torch.float16, torch.float32)


def test_a_scheduler_with_noise_of_its_own_is_refused(folder, monkeypatch):
    from models.diffusion.prompt_to_prompt import synthesizer

    monkeypatch.setattr(synthesizer, "GLOBAL_NOISE", frozenset({"PNDMScheduler"}))
    with pytest.raises(ValueError) as caught:
        PromptToPrompt(weights_at(folder), placement())
    assert str(caught.value) == (
        f"path:{folder}: PNDMScheduler draws noise that no seed of a row decides; name another checkpoint"
    )


def test_an_image_that_the_safety_checker_rejects_is_black(folder):
    model = PromptToPrompt(weights_at(folder), placement(), size_px=64)
    model._pipeline.safety_checker = lambda images, clip_input: (images, [False, True])
    model._pipeline.feature_extractor = lambda images, return_tensors: diffusers.utils.BaseOutput()
    model._pipeline.run_safety_checker = lambda images, device, dtype: (
        images * torch.tensor([1.0, 0.0])[:, None, None, None],
        [False, True],
    )
    source, target = one_pair(model)
    assert pixels(source).max() > 0
    assert pixels(target).max() == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"region": np.ones((40, 30), np.bool_)},
            "region 0 is bool of shape (40, 30), its anchor is 40 x 30 pixels; pass booleans of (height, width)",
        ),
        (
            {"region": RIGHT, "core": CORE.astype(np.uint8)},
            "core 0 is uint8 of shape (30, 40), its anchor is 40 x 30 pixels; pass booleans of (height, width)",
        ),
        (
            {"anchor": None, "region": RIGHT},
            "request 0 has a region and no anchor; pass the image whose part may change",
        ),
        ({"core": CORE}, "request 0 has a core and no region; pass the region that the core lies in"),
    ],
)
def test_wrong_masks_are_refused(models, more, expected):
    with pytest.raises(ValueError) as caught:
        models().prepare([request_of(**more)])
    assert str(caught.value) == expected


def test_wrong_settings_are_refused(folder):
    with pytest.raises(SettingError) as caught:
        PromptToPrompt(weights_at(folder), placement(), blend_step="odd")
    assert str(caught.value) == f"pairs of path:{folder}: unknown key 'blend_step' (did you mean 'blend_steps'?)"
    with pytest.raises(SettingError, match="as_released draws both images"):
        PromptToPrompt(weights_at(folder), placement(), source="photograph", as_released=True)


def test_lists_of_different_length_are_refused(models):
    with pytest.raises(ValueError, match="lists of one call differ in length"):
        models().synthesise(models().prepare([request_of()]), [CANDIDATE] * 2)


def test_no_pairs_are_no_images(models):
    assert models().prepare([]) == []
    assert models().synthesise([], []) == []


def test_the_miniature_draws_pairs():
    model = load("PairSynthesizer", "zoo:sd", placement(), max_self_tokens=64)
    captions = ("a red ball on the grass", "a blue ball on the grass")
    candidate = PairCandidate(seed=1, num_steps=8, guidance_scale=4.0, cross_attention_frac=0.8)
    source, target = one_pair(model, candidate, anchor=None, captions=captions)
    assert source.size == target.size == (64, 64)
    red, blue = (pixels(one).reshape(-1, 3) for one in (source, target))
    assert (red[:, 0] - red[:, 2]).max() > 100
    assert (blue[:, 2] - blue[:, 0]).max() > 100
