"""The controller against a plain reference that holds every map, and what it leaves alone."""

from dataclasses import replace

import pytest
import torch
from _checkpoints import (
    placement,
    save_sdxl,
    save_stable_diffusion,
    save_stable_diffusion_2,
    weights_at,
)
from _pairs import plain_pair, refine_places, transfer_errors

from models.diffusion.prompt_to_prompt.plan import AttentionPlan, cross_steps, self_steps
from models.diffusion.prompt_to_prompt.released import ReleasedProcessor
from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.model_ids import fetch, find
from models.protocols import PairCandidate, PairRequest

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' Euler steps

SAVES = {"sd1": save_stable_diffusion, "sd2": save_stable_diffusion_2, "sdxl": save_sdxl}
KINDS = [*SAVES, "zoo"]
SETTINGS = {"size_px": 64, "max_self_tokens": 64, "blend_grid": 2}
CAPTIONS = [
    ("a red cat", "a blue cat"),
    ("the cat on grass", "the car"),
    ("the car", "photo of the red car"),
    ("", "a cat"),
    ("a red cat", ""),
]
CANDIDATES = [
    PairCandidate(seed=1, num_steps=4, cross_attention_frac=0.8, self_attention_frac=0.5),
    PairCandidate(seed=2, num_steps=4, cross_attention_frac=0.3, self_attention_frac=1.0),
    PairCandidate(seed=3, num_steps=4, cross_attention_frac=1.0, self_attention_frac=0.0),
    PairCandidate(seed=4, num_steps=4, cross_attention_frac=0.6, self_attention_frac=0.26),
    PairCandidate(seed=5, num_steps=4, cross_attention_frac=0.0, self_attention_frac=0.75),
]
SCALES = [2.0, 7.5, 3.0, 1.5, 5.0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save(tmp_path_factory.mktemp(kind)) for kind, save in SAVES.items()}


@pytest.fixture(scope="module")
def models(folders):
    found = {}

    def make(kind, **settings):
        key = (kind, *sorted(settings.items()))
        if key not in found:
            weights = fetch(find("zoo:sd")) if kind == "zoo" else weights_at(folders[kind])
            found[key] = PromptToPrompt(weights, placement(batch_size=8), **{**SETTINGS, **settings})
        return found[key]

    return make


def latents_of(model, requests, candidates):
    """{pair: (2, C, h, w)} of one batch."""
    with torch.inference_mode():
        found = model._sampler.sample(model.prepare(requests), candidates)
    return found.unflatten(0, (2, -1)).transpose(0, 1)


def requests_of(captions=CAPTIONS, **more):
    return [PairRequest(source_caption=source, target_caption=target, **more) for source, target in captions]


def guided(candidates, scales):
    return [replace(one, guidance_scale=scale) for one, scale in zip(candidates, scales, strict=True)]


def by_loop(model, captions, candidate, **more):
    pipeline = model._pipeline
    places = more.pop("places", None) or refine_places(pipeline, *captions)
    size = (64 // (2 ** (len(pipeline.vae.config.block_out_channels) - 1)),) * 2
    return plain_pair(pipeline, captions, candidate, places=places, max_self_tokens=64, size=size, **more)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_guided", [False, True])
def test_a_batch_of_mixed_pairs_is_what_a_loop_with_held_maps_gives(models, kind, is_guided):
    model = models(kind)
    candidates = guided(CANDIDATES, SCALES) if is_guided else CANDIDATES
    found = latents_of(model, requests_of(), candidates)
    for pair, captions, candidate in zip(found, CAPTIONS, candidates, strict=True):
        assert_close(pair, by_loop(model, captions, candidate))


def test_sharing_changes_the_target_and_never_the_source(models):
    model = models("sd1")
    shared = latents_of(model, requests_of(), CANDIDATES)
    none = [replace(one, cross_attention_frac=0.0, self_attention_frac=0.0) for one in CANDIDATES]
    plain = latents_of(model, requests_of(), none)
    assert_close(shared[:, 0], plain[:, 0])
    moved = (shared[:, 1] - plain[:, 1]).abs().amax(dim=(1, 2, 3))
    assert moved.min() > 1e-2


def test_replace_takes_over_the_map_of_the_word_at_the_same_place(models):
    model, captions = models("sd1"), ("a cat on the grass", "a car on the xyz")
    tokens = [model._pipeline.tokenizer(text).input_ids for text in captions]
    assert [len(ids) for ids in tokens] == [7, 9]  # "xyz" is three tokens
    places = [[(0, 1)], [(1, 1)], [(2, 1)], [(3, 1)], [(4, 1)], *[[(5, 1 / 3)]] * 3]
    places += [[(min(15, place), 1)] for place in range(6, 14)]
    request = requests_of([captions], edit="replace")
    for candidate in (CANDIDATES[0], replace(CANDIDATES[2], guidance_scale=4.0)):
        found = latents_of(model, request, [candidate])[0]
        assert_close(found, by_loop(model, captions, candidate, places=places))
        assert (found - by_loop(model, captions, candidate)).abs().max() > 1e-3


def test_replace_refines_captions_of_unequal_numbers_of_words(models):
    model, captions = models("sd1"), ("a red cat", "a cat")
    request = requests_of([captions], edit="replace")
    assert_close(latents_of(model, request, CANDIDATES[:1])[0], by_loop(model, captions, CANDIDATES[0]))


def test_reweight_scales_the_maps_of_a_word(models):
    model, captions = models("sd1"), ("a red cat on grass", "a red car on grass")
    request = requests_of([captions], word_weights={"Red": 3.0, "car": 0.25})
    found = latents_of(model, request, CANDIDATES[:1])[0]
    assert_close(found, by_loop(model, captions, CANDIDATES[0], factors={2: 3.0, 3: 0.25}))
    assert (found - by_loop(model, captions, CANDIDATES[0])).abs().max() > 1e-3


def test_a_weight_of_a_word_that_is_not_there_is_refused(models):
    with pytest.raises(ValueError) as caught:
        models("sd1").prepare(requests_of([("a cat", "a car")], word_weights={"cat": 2.0}))
    assert str(caught.value) == "the word 'cat' is not in the caption 'a car'; name a word of it"


def test_edits_of_all_kinds_are_mixed_in_one_batch(models):
    model, captions = models("sd1"), ("a red cat", "a blue car")
    requests = [
        *requests_of([captions]),
        *requests_of([captions], edit="replace"),
        *requests_of([captions], word_weights={"blue": 2.0}),
        *requests_of([captions], edit="replace", word_weights={"blue": 0.5}, blend_words=("cat", "car")),
    ]
    together = latents_of(model, requests, CANDIDATES[:4])
    for request, candidate, found in zip(requests, CANDIDATES[:4], together, strict=True):
        assert_close(found, latents_of(model, [request], [candidate])[0])


def test_captions_over_the_limit_are_cut_and_what_is_left_is_aligned(models):
    model = models("sd1")
    source = "a photo of the red cat on " + "grass " * 20
    target = source.replace("red", "blue")
    (prepared,) = model.prepare(requests_of([(source, target)]))
    length = model._pipeline.tokenizer.model_max_length
    expected = torch.eye(length)
    expected[5, 5] = 0
    assert torch.equal(prepared.edit.carried_LL, expected)
    assert prepared.edit.kept_L.tolist() == [token == 5 for token in range(length)]
    found = latents_of(model, requests_of([(source, target)]), CANDIDATES[:1])[0]
    places = [[(token, 1)] if token != 5 else "own" for token in range(length)]
    assert_close(found, by_loop(model, (source, target), CANDIDATES[0], places=places))


def test_a_pair_with_equal_captions_is_twice_the_same_image(models):
    captions = [("a red cat", "a red cat"), ("", "")]
    for found in latents_of(models("sd1"), requests_of(captions), CANDIDATES[:2]):
        assert_close(found[0], found[1])


def test_a_pair_does_not_depend_on_its_neighbours_or_their_order(models):
    model = models("sd1")
    together = latents_of(model, requests_of(), CANDIDATES)
    back = latents_of(model, requests_of()[::-1], CANDIDATES[::-1])
    assert_close(back.flip(0), together)
    for request, candidate, found in zip(requests_of(), CANDIDATES, together, strict=True):
        assert_close(latents_of(model, [request], [candidate])[0], found)


def test_self_attention_of_larger_layers_is_plain(models):
    captions = requests_of(CAPTIONS[:1])
    shares = [replace(CANDIDATES[0], cross_attention_frac=0.0)]
    none = [replace(shares[0], self_attention_frac=0.0)]
    plain = latents_of(models("sd1"), captions, none)
    found = {most: latents_of(models("sd1", max_self_tokens=most), captions, shares) for most in (4, 16, 64)}
    assert_close(found[4], plain)
    moved = [(found[one] - found[other]).abs().max().item() for one, other in ((4, 16), (4, 64), (16, 64))]
    assert min(moved) > 3e-4, moved
    default = latents_of(models("sd1", max_self_tokens=None), captions, shares)
    assert_close(default, plain)  # 8 x 8 latents: layers of at most 2 x 2


@pytest.mark.parametrize(("num_calls", "frac", "expected"), [(1, 0.9, (0, 1)), (4, 0.5, (2, 2)), (4, 0.8, (3, 4))])
def test_shares_count_the_first_steps_as_the_paper_does(num_calls, frac, expected):
    assert (self_steps(frac, num_calls), cross_steps(frac, num_calls)) == expected


def test_shares_of_nought_and_one_are_no_step_and_all():
    for count in (self_steps, cross_steps):
        assert [count(frac, 7) for frac in (0.0, 1.0)] == [0, 7]
    assert self_steps(0.57, 100) == 57


def one_call(model, captions, *, self_frac=1.0, cross_frac=1.0):
    """A call of the network for a batch of pairs with all attention shared, and the rows of the pairs."""
    prepared = model.prepare(requests_of(captions))
    candidates = [
        PairCandidate(seed=0, num_steps=2, self_attention_frac=self_frac, cross_attention_frac=cross_frac)
    ] * len(prepared)
    latents = torch.randn(2 * len(prepared), 4, 8, 8, generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([one.text.tokens_BLD[side : side + 1] for side in (0, 1) for one in prepared])
    processor = next(iter(model._pipeline.unet.attn_processors.values()))
    if isinstance(processor, ReleasedProcessor):
        model._sampler._align(prepared)
        control = processor._control
        control.shares_self = control.shares_cross = True
    else:
        plan = AttentionPlan(model._sampler._shared, prepared, candidates, num_calls=2, first_row=0, max_self_tokens=64)
        plan.set(0)
    pairs = [(pair, len(prepared) + pair) for pair in range(len(prepared))]
    return lambda: model._pipeline.unet(latents, 500, encoder_hidden_states=tokens), pairs


@pytest.mark.parametrize("captions", [[("a red cat", "a red cat")], [("a car", "a car"), ("the cat", "the cat")]])
def test_without_guidance_targets_have_the_sources_attention(models, captions):
    model = models("sd1")
    errors = transfer_errors(model._pipeline.unet, *one_call(model, captions))
    assert len(errors) == 8
    assert max(errors.values()) < 1e-4


@pytest.mark.parametrize("captions", [[("a red cat", "a red cat")], [("a car", "a car"), ("the cat", "the cat")]])
def test_the_released_controller_fails_to_hand_over_attention(models, captions):
    model = models("sd1", as_released=True)
    errors = transfer_errors(model._pipeline.unet, *one_call(model, captions))
    assert min(errors.values()) > 0.3


def test_the_reference_finds_attention_that_is_not_handed_over(models):
    model = models("sd1")
    call, pairs = one_call(model, [("a red cat", "a red cat")], self_frac=0.0, cross_frac=0.0)
    errors = transfer_errors(model._pipeline.unet, call, pairs)
    assert min(errors.values()) > 0.99


def test_processors_are_registered_once(models):
    unet = models("sd1")._pipeline.unet
    before = dict(unet.attn_processors)
    latents_of(models("sd1"), requests_of(), CANDIDATES)
    assert unet.attn_processors == before
    assert len({id(one) for one in before.values()}) == 1


def test_no_map_is_held_without_a_local_blend(models, monkeypatch):
    model = models("sd1")
    largest = []
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *given, **more: (largest.append(1), attention(*given, **more))[1],
    )
    softmax = []
    monkeypatch.setattr(torch.Tensor, "softmax", lambda *_given, **_more: softmax.append(1))
    latents_of(model, requests_of(CAPTIONS[:1]), CANDIDATES[:1])
    assert largest
    assert not softmax
