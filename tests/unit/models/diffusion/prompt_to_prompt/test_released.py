"""UltraEdit's released controller and loop, their faults included."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from _checkpoints import make_image, placement, save_sdxl, save_stable_diffusion, weights_at
from _held_maps import pixels, sharpen
from diffusers.models.attention_processor import AttnProcessor2_0

from models.diffusion.prompt_to_prompt.released import ReleasedControl, ReleasedProcessor
from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.protocols import PairCandidate, PairRequest

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers

ANCHOR = make_image(40, 30, 1)
CANDIDATE = PairCandidate(seed=7, num_steps=5, strength=0.6, cross_attention_frac=0.8, self_attention_frac=0.7)
RIGHT, CORE = np.zeros((2, 30, 40), np.bool_)
RIGHT[:, 20:] = CORE[:, 30:] = True
HEADS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_stable_diffusion(tmp_path_factory.mktemp("sd"))
    model = PromptToPrompt(weights_at(folder), placement(3), size_px=64, max_self_tokens=64, as_released=True)
    model._sampler._scheduler = diffusers.DDIMScheduler.from_config(model._pipeline.scheduler.config, clip_sample=False)
    return sharpen(model)


def request_of(captions=("a red cat", "a blue cat"), **more):
    return PairRequest(source_caption=captions[0], target_caption=captions[1], **more)


def latents_of(model, requests, candidates):
    with torch.inference_mode():
        found = model._sampler.sample(model.prepare(requests), candidates)
    return found.unflatten(0, (2, -1)).transpose(0, 1)


def edited(num_pairs, *, is_cross=False, is_guided=False):
    """Maps that are their own number, (prompt, head), in the order of the release, before and after the edit."""
    num_prompts = 2 * num_pairs
    control = ReleasedControl(max_self_tokens=4, shares_self=True, shares_cross=True)
    control.carried_PLL = torch.eye(4).expand(num_prompts - 1, 4, 4)
    control.kept_PL = torch.zeros(num_prompts - 1, 4)
    count = num_prompts * HEADS * (2 if is_guided else 1)
    maps = torch.arange(float(count))[:, None, None].expand(count, 4, 4)
    half = count // 2
    after = torch.cat([maps[:half], ReleasedProcessor(control)._edited(maps[half:], is_cross)])
    return [divmod(int(number), HEADS) for number in after[:, 0, 0]]


def untouched(prompts):
    return [(prompt, head) for prompt in prompts for head in range(HEADS)]


@pytest.mark.parametrize("is_cross", [False, True])
def test_of_one_pair_half_the_targets_heads_overwrite_the_other_half(is_cross):
    assert edited(1, is_cross=is_cross) == [*untouched([0]), (1, 0), (1, 0)]


@pytest.mark.parametrize("is_cross", [False, True])
def test_of_seven_pairs_the_latter_half_takes_over_half_of_one_prompt(is_cross):
    assert edited(7, is_cross=is_cross) == [*untouched(range(7)), *[(7, 0)] * 14]


def test_of_six_pairs_the_latter_half_takes_over_half_of_one_prompt():
    assert edited(6) == [*untouched(range(6)), *[(6, 0)] * 12]


def test_with_guidance_one_pair_hands_over_attention():
    assert edited(1, is_guided=True) == [*untouched([0, 1, 2]), *untouched([2])]


def test_without_shares_attention_is_plain(model):
    none = replace(CANDIDATE, cross_attention_frac=0.0, self_attention_frac=0.0, strength=1.0)
    unet, request = model._pipeline.unet, request_of(captions=("a cat", "the car"))
    found = latents_of(model, [request], [none])
    was = unet.attn_processors
    unet.set_attn_processor(AttnProcessor2_0())
    expected = latents_of(model, [request], [none])
    unet.set_attn_processor(was)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (latents_of(model, [request], [CANDIDATE]) - expected).abs().max() > 1e-2


def test_a_pair_depends_on_its_neighbours(model):
    requests = [request_of(captions=("a cat", "the car")), request_of()]
    together = latents_of(model, requests, [CANDIDATE] * 2)
    alone = latents_of(model, requests[1:], [CANDIDATE])
    assert (together[1] - alone[0]).abs().max() > 1e-2


def test_the_first_latent_is_shared_and_no_noise_after_it(model):
    seen, same = [], request_of(captions=("a cat", "a cat"), anchor=ANCHOR)
    hook = model._pipeline.unet.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    was = model._sampler._scheduler
    model._sampler._scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(was.config)
    none = replace(CANDIDATE, cross_attention_frac=0.0, self_attention_frac=0.0)
    try:
        latents_of(model, [same], [none])
    finally:
        hook.remove()
        model._sampler._scheduler = was
    assert [torch.equal(*rows) for rows in seen] == [True, False, False]


def test_the_anchor_is_put_back_after_odd_steps_and_not_after_the_last(model):
    request = request_of(anchor=ANCHOR, region=RIGHT)
    (prepared,) = model.prepare([request])
    generator = torch.Generator().manual_seed(CANDIDATE.seed)
    drawn = torch.stack([torch.randn(prepared.latent_Chw.shape, generator=generator) for _ in range(2)])
    anchors = prepared.latent_Chw + prepared.latent_std_Chw * drawn
    for num_steps, is_back in ((4, True), (5, False)):  # of which 2 and 3 are run
        latents = latents_of(model, [request], [replace(CANDIDATE, num_steps=num_steps)])[0]
        assert torch.allclose(latents[..., :4], anchors[..., :4]) == is_back


def test_a_ring_without_a_value_is_left_as_it_is(model):
    request = request_of(anchor=ANCHOR, region=RIGHT, core=CORE)
    made = [latents_of(model, [request], [replace(CANDIDATE, ring_frac=value)]) for value in (None, 0.0, 0.5)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_masks_are_hard_and_pixels_outside_are_not_copied(model):
    region = np.zeros((30, 40), np.bool_)
    region[3:, 7:] = True
    request = request_of(anchor=ANCHOR, region=region)
    (prepared,) = model.prepare([request])
    assert set(prepared.region_hw.unique().tolist()) == {0.0, 1.0}
    images = model.synthesise([prepared], [CANDIDATE])[0]
    assert all(np.abs(pixels(image) - pixels(ANCHOR))[~region].max() > 0 for image in images)


def test_sdxl_gets_no_pooled_text_and_no_sizes(tmp_path):
    model = PromptToPrompt(weights_at(save_sdxl(tmp_path)), placement(), size_px=64, as_released=True)
    assert model._pipeline.unet.config.addition_embed_type is None
    source, target = model.synthesise(model.prepare([request_of()]), [CANDIDATE])[0]
    assert source.size == target.size == (64, 64)


def test_an_odd_number_of_maps_is_refused():
    control = ReleasedControl(kept_PL=torch.zeros(3, 4))
    with pytest.raises(ValueError, match="needs an even number of heads, got 6 maps"):
        ReleasedProcessor(control)._edited(torch.zeros(6, 4, 4), is_cross=False)
