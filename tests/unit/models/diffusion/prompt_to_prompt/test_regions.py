"""Regions, rings, photographs as sources, and networks of nine channels."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from _checkpoints import (
    placement,
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
    latents_of,
    one_pair,
    request_of,
    seen_by,
)
from _held_maps import pixels, sharpen
from PIL import Image

from models.diffusion.prompt_to_prompt.plan import AttentionPlan
from models.diffusion.prompt_to_prompt.sampler import Network
from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.registry import load


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
    timesteps = scheduler.timesteps[candidate.num_steps - candidate.num_steps_run :]
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
