"""Schedulers, starts and noise, against a plain loop."""

from dataclasses import replace

import pytest
import torch
from _checkpoints import (
    make_image,
    placement,
    weights_at,
)
from _drawn_pairs import (
    CANDIDATE,
    CAPTIONS,
    assert_close,
    difference,
    latents_of,
    one_pair,
    one_pair_of,
    request_of,
)
from _held_maps import plain_pair, refine_places

from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.diffusion.schedule import Schedule

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers

SCHEDULERS = [
    "DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler",
    "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler", "PNDMScheduler", "TCDScheduler",
    "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler",
]  # fmt: skip


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


@pytest.mark.parametrize(
    ("num_steps", "strength", "expected"),
    [(5, 0.6, 3), (8, 0.6, 4), (3, 0.3, 1), (2, 0.0, 1), (100, 0.57, 57), (4, 1, 4)],
)
def test_the_last_steps_are_run_and_at_least_one(num_steps, strength, expected):
    candidate = replace(CANDIDATE, num_steps=num_steps, strength=strength)
    assert candidate.num_steps_run == expected


@pytest.mark.parametrize("name", ["PNDMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize(("num_steps", "num_run"), [(3, 1), (3, 2), (8, 4), (8, 8)])
def test_a_network_that_sees_the_noise_leaves_the_anchor(scheduled, name, num_steps, num_run):
    scheduler = scheduled(name)._sampler._scheduler
    schedule = Schedule(scheduler, num_steps=num_steps, num_run=num_run, device="cpu")
    generator = torch.Generator().manual_seed(1)
    anchor, noise = torch.randn(2, 1, 4, 6, 8, generator=generator)
    latents = schedule.noised(anchor, noise, 0)
    for step in range(len(schedule)):
        schedule.scaled(latents, step)
        latents = schedule.stepped(noise, latents, step, [generator])
        if step + 1 < len(schedule):
            assert_close(latents, schedule.noised(anchor, noise, step + 1))
    least = (1 - scheduler.alphas_cumprod[0]) ** 0.5  # PNDM ends at the first timestep's noise
    assert (latents - anchor).abs().max() <= 1.1 * least * noise.abs().max()


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


def test_the_checkpoints_scheduler_is_left_as_it_is(folder):
    model = PromptToPrompt(weights_at(folder), placement(), size_px=64)
    one_pair(model)
    assert model._sampler._scheduler is model._pipeline.scheduler
    assert model._pipeline.scheduler.num_inference_steps is None
