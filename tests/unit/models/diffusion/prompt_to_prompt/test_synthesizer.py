"""The sampling loop: anchors, noise, regions, photographs, networks of nine channels, batches."""

import gc
from contextlib import contextmanager
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
from _held_maps import pixels, plain_pair, refine_places, sharpen
from PIL import Image

from core.errors import SettingError
from models.diffusion.prompt_to_prompt.plan import AttentionPlan
from models.diffusion.prompt_to_prompt.sampler import Network
from models.diffusion.prompt_to_prompt.schedule import num_run
from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.protocols import PairCandidate, PairRequest
from models.registry import load

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers

CAPTIONS = ("a red cat", "a blue cat")
ANCHOR = make_image(40, 30, 1)
CANDIDATE = PairCandidate(seed=7, num_steps=5, strength=0.6, cross_attention_frac=0.8, self_attention_frac=0.5)
SCHEDULERS = [
    "DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler",
    "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler", "PNDMScheduler", "TCDScheduler",
    "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def models(folder):
    found = {}

    def make(**settings):
        key = tuple(sorted(settings.items()))
        if key not in found:
            found[key] = PromptToPrompt(
                weights_at(folder), placement(3), **{"size_px": 64, "max_self_tokens": 64, **settings}
            )
        return found[key]

    return make


@pytest.fixture
def scheduled(models):
    """A model that runs on a scheduler of another name, for one test."""
    was = models()._sampler._scheduler, models(shares_noise=False)._sampler._scheduler

    def make(name, **settings):
        model = models(**settings)
        model._sampler._scheduler = getattr(diffusers, name).from_config(was[0].config)
        return model

    yield make
    models()._sampler._scheduler, models(shares_noise=False)._sampler._scheduler = was


def request_of(anchor=ANCHOR, captions=CAPTIONS, **more):
    return PairRequest(source_caption=captions[0], target_caption=captions[1], anchor=anchor, **more)


def one_pair(model, candidate=CANDIDATE, **more):
    return model.synthesise(model.prepare([request_of(**more)]), [candidate])[0]


def latents_of(model, request, candidate):
    with torch.inference_mode():
        return model._sampler.sample(model.prepare([request]), [candidate])


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def difference(one, other):
    assert one.size == other.size
    return np.abs(pixels(one) - pixels(other)).max()


def region_of(image, columns):
    region = np.zeros((image.height, image.width), np.bool_)
    region[:, columns] = True
    return region


RIGHT, CORE = region_of(ANCHOR, slice(20, None)), region_of(ANCHOR, slice(30, None))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_a_noised_anchor_is_drawn_as_by_a_plain_loop(scheduled, name, strength):
    model, candidate = scheduled(name), replace(CANDIDATE, strength=strength, guidance_scale=2.0)
    pipeline = model._pipeline
    (prepared,) = model.prepare([request_of()])
    assert prepared.latent_size == (6, 8)
    was, pipeline.scheduler = pipeline.scheduler, model._sampler._scheduler
    expected = plain_pair(
        pipeline, CAPTIONS, candidate, places=refine_places(pipeline, *CAPTIONS), max_self_tokens=64, size=(6, 8),
        anchor=prepared.latent_Chw[None],
    )  # fmt: skip
    pipeline.scheduler = was
    assert_close(latents_of(model, request_of(), candidate), expected)


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


@pytest.mark.parametrize(
    ("num_steps", "strength", "expected"),
    [(5, 0.6, 3), (8, 0.6, 4), (3, 0.3, 1), (2, 0.0, 1), (100, 0.57, 57), (4, 1, 4)],
)
def test_the_last_steps_are_run_and_at_least_one(num_steps, strength, expected):
    assert num_run(num_steps, strength) == expected


def test_without_an_anchor_all_steps_are_run(models):
    whole = latents_of(models(), request_of(None), replace(CANDIDATE, strength=1.0))
    assert torch.equal(latents_of(models(), request_of(None), replace(CANDIDATE, strength=0.2)), whole)


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "DDPMScheduler", "LCMScheduler"])
def test_a_pair_shares_ancestral_noise_or_not(scheduled, name):
    same = ("a red cat", "a red cat")
    source, target = one_pair(scheduled(name), captions=same)
    assert difference(source, target) <= 1
    source, target = one_pair(scheduled(name, shares_noise=False), captions=same)
    assert difference(source, target) > 5


def test_the_first_noise_is_shared_or_not_by_the_same_setting(models):
    same, candidate = ("a red cat", "a red cat"), replace(CANDIDATE, strength=1.0)
    assert difference(*one_pair(models(), candidate, captions=same)) <= 1
    assert difference(*one_pair(models(shares_noise=False), candidate, captions=same)) > 5


def test_noise_depends_on_the_seed_alone(scheduled):
    model = scheduled("EulerAncestralDiscreteScheduler")
    requests = [
        request_of(),
        request_of(make_image(40, 30, 5)),
        request_of(captions=("the car", "a car")),
        request_of(),
    ]
    candidates = [replace(CANDIDATE, seed=seed) for seed in (7, 7, 9, 10)]
    together = model.synthesise(model.prepare(requests), candidates)
    back = model.synthesise(model.prepare(requests[::-1]), candidates[::-1])[::-1]
    for request, candidate, pair, other in zip(requests, candidates, together, back, strict=True):
        alone = one_pair_of(model, request, candidate)
        assert max(map(difference, pair, alone)) <= 1
        assert max(map(difference, other, alone)) <= 1
    assert difference(together[0][0], together[3][0]) > 5


def one_pair_of(model, request, candidate):
    return model.synthesise(model.prepare([request]), [candidate])[0]


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


def test_pixels_outside_of_the_region_are_the_anchors(models):
    pair = one_pair(models(), region=RIGHT)
    for image in pair:
        assert np.array_equal(pixels(image)[~RIGHT], pixels(ANCHOR)[~RIGHT])
        assert np.abs(pixels(image) - pixels(ANCHOR))[RIGHT].max() > 5
    loose = one_pair(models(keeps_outside=False), region=RIGHT)
    assert not np.array_equal(pixels(loose[0])[~RIGHT], pixels(ANCHOR)[~RIGHT])
    for one, other in zip(pair, loose, strict=True):
        assert np.array_equal(pixels(one)[RIGHT], pixels(other)[RIGHT])


def test_a_white_region_changes_nothing(models):
    white = np.ones_like(RIGHT)
    assert [difference(*both) for both in zip(one_pair(models(), region=white), one_pair(models()), strict=True)] == [
        0,
        0,
    ]


def loop_with_region(model, candidate, request, after):
    """Latents by a loop over the sampler's own steps without a region, blended here: `after` names the steps."""

    (prepared,) = model.prepare([request])
    scheduler = type(model._pipeline.scheduler).from_config(model._pipeline.scheduler.config)
    scheduler.set_timesteps(candidate.num_steps)
    timesteps = scheduler.timesteps[candidate.num_steps - num_run(candidate.num_steps, candidate.strength) :]
    noise = torch.randn(4, *prepared.latent_size, generator=torch.Generator().manual_seed(candidate.seed))
    noise, anchor = (torch.stack([one, one]) for one in (noise, prepared.latent_Chw))
    region, core = (
        torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(one)[None].float(), prepared.latent_size)
        for one in (request.region, request.core)
    )
    ring_frac = 1.0 if candidate.ring_frac is None else candidate.ring_frac
    anew = core * (1 - ring_frac) + ring_frac * region
    latents = scheduler.add_noise(anchor, noise, timesteps[:1].repeat(2))
    network = Network(model._pipeline.unet, [prepared], [candidate], model._sampler._nothing)
    plan = AttentionPlan(
        model._sampler._shared, [prepared], [candidate], model._settings, num_calls=len(timesteps), first_row=0
    )
    for step, timestep in enumerate(timesteps):
        plan.set(step)
        latents = scheduler.step(network(latents, timestep), timestep, latents).prev_sample
        if step in after:
            is_last = step == len(timesteps) - 1
            kept = anchor if is_last else scheduler.add_noise(anchor, noise, timesteps[step + 1].repeat(2))
            latents = anew * latents + (1 - anew) * kept
    return latents


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({}, {1, 3, 4}),
        ({"blends_last": False}, {1, 3}),
        ({"blend_steps": "even"}, {0, 2, 4}),
        ({"blend_steps": "every"}, {0, 1, 2, 3, 4}),
    ],
)
@pytest.mark.parametrize("ring_frac", [None, 0.0, 0.3, 1.0])
def test_the_anchor_is_put_back_after_the_steps_that_are_named(scheduled, models, settings, after, ring_frac):
    model = models(**settings)
    model._sampler._scheduler = model._pipeline.scheduler = diffusers.DDIMScheduler.from_config(
        model._pipeline.scheduler.config, clip_sample=False
    )
    candidate = replace(CANDIDATE, num_steps=7, strength=0.75, ring_frac=ring_frac)
    request = request_of(region=RIGHT, core=CORE)
    with torch.inference_mode():
        expected = loop_with_region(model, candidate, request, after)
    assert_close(latents_of(model, request, candidate), expected)


def test_a_ring_without_a_value_and_a_region_without_a_core_are_made_anew(models):
    ring = [replace(CANDIDATE, ring_frac=value) for value in (None, 1.0, 0.0)]
    made = [latents_of(models(), request_of(region=RIGHT, core=CORE), one) for one in ring]
    assert_close(made[0], made[1])
    assert_close(made[0], latents_of(models(), request_of(region=RIGHT), ring[2]))
    assert_close(made[2], latents_of(models(), request_of(region=CORE), ring[0]))
    assert (made[0] - made[2]).abs().max() > 1e-2


@contextmanager
def hooked(model, function):
    """Call `function` before each call of the network."""
    hook = model._pipeline.unet.register_forward_pre_hook(function)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def seen_by(model):
    """(latents, timestep) that the network is called with, call by call."""
    seen = []
    with hooked(model, lambda _module, given: seen.append(given[:2])):
        yield seen


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_with_a_photograph_the_source_is_the_anchor_noised_at_each_step(folder, strength):
    model = PromptToPrompt(weights_at(folder), placement(), size_px=64, max_self_tokens=64, source="photograph")
    candidate = replace(CANDIDATE, strength=strength)
    with seen_by(model) as seen:
        source, target = one_pair(model, candidate)
    assert np.array_equal(pixels(source), pixels(ANCHOR))
    assert difference(target, ANCHOR) > 5
    (prepared,) = model.prepare([request_of()])
    noise = torch.randn(4, *prepared.latent_size, generator=torch.Generator().manual_seed(candidate.seed))
    assert len(seen) >= 3
    for rows, timestep in seen:
        expected = model._pipeline.scheduler.add_noise(prepared.latent_Chw[None], noise[None], timestep[None])
        assert_close(rows[:1], expected)


def test_a_photograph_leads_the_targets_attention(folder, models):
    none = replace(CANDIDATE, cross_attention_frac=0.0, self_attention_frac=0.0)
    model = PromptToPrompt(weights_at(folder), placement(), size_px=64, max_self_tokens=64, source="photograph")
    assert difference(one_pair(model, none)[1], one_pair(models(), none)[1]) <= 1
    assert difference(*(one_pair(sharpen(model), one)[1] for one in (CANDIDATE, none))) > 5


def test_a_photograph_is_needed_where_it_is_asked_for(folder):
    model = PromptToPrompt(weights_at(folder), placement(), source="photograph")
    with pytest.raises(ValueError) as caught:
        model.prepare([request_of(), request_of(None)])
    assert str(caught.value) == "request 1 has no anchor; source = 'photograph' needs one"


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory):
    folder = save_stable_diffusion_inpainting(tmp_path_factory.mktemp("inpaint"))
    return load("PairSynthesizer", f"path:{folder}", placement(), size_px=64, max_self_tokens=64)


def test_nine_channels_get_the_mask_and_the_masked_image_for_both_rows(inpainting):
    with seen_by(inpainting) as seen:
        one_pair(inpainting, region=RIGHT)
    pipeline, (rows, _) = inpainting._pipeline, seen[0]
    assert rows.shape == (2, 9, 6, 8)
    assert torch.equal(rows[:, 4], torch.tensor([0.0] * 4 + [1.0] * 4).expand(2, 6, 8))
    image = pipeline.image_processor.preprocess(ANCHOR.resize((64, 48), Image.Resampling.LANCZOS))
    image[..., 32:] = 0
    with torch.inference_mode():
        expected = pipeline.vae.encode(image).latent_dist.mode() * pipeline.vae.config.scaling_factor
    assert_close(rows[:, 5:], expected.expand(2, -1, -1, -1))


def test_nine_channels_without_a_region_get_a_white_mask_and_no_image(inpainting):
    for anchor in (ANCHOR, None):
        with seen_by(inpainting) as seen:
            images = one_pair(inpainting, anchor=anchor)
        assert images[0].size == (ANCHOR.size if anchor else (64, 64))
        rows = seen[-1][0]
        assert (rows[:, 4] == 1).all()
        grey = torch.zeros(1, 3, *(8 * side for side in rows.shape[-2:]))
        vae = inpainting._pipeline.vae
        with torch.inference_mode():
            expected = vae.encode(grey).latent_dist.mode() * vae.config.scaling_factor
        # a grey image has no variance, and dividing by it makes rounding large
        assert (rows[:, 5:] - expected).abs().max() < 0.02 < (rows[:, 5:].mean() - rows[:, :4]).abs().max()


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
