"""Local blend against a plain reference."""

from dataclasses import replace

import pytest
import torch
from _checkpoints import make_image, placement, save_stable_diffusion, weights_at
from _held_maps import plain_pair, refine_places, sharpen

from models.diffusion.prompt_to_prompt.settings import PairSettings
from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt
from models.diffusion.prompt_to_prompt.word_maps import word_maps
from models.protocols import PairCandidate, PairRequest

CAPTIONS = ("a red cat on grass", "a blue car on grass")
SETTINGS = {"size_px": 64, "max_self_tokens": 64, "blend_grid": 2, "blend_threshold": 0.8}
CANDIDATE = PairCandidate(seed=3, num_steps=4, cross_attention_frac=0.5, self_attention_frac=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_stable_diffusion(tmp_path_factory.mktemp("sd"))
    return sharpen(PromptToPrompt(weights_at(folder), placement(8), **SETTINGS))


def request_of(words, captions=CAPTIONS):
    return PairRequest(source_caption=captions[0], target_caption=captions[1], blend_words=words)


def latents_of(model, requests, candidates):
    with torch.inference_mode():
        found = model._sampler.sample(model.prepare(requests), candidates)
    return found.unflatten(0, (2, -1)).transpose(0, 1)


@pytest.mark.parametrize(
    ("words", "tokens", "scale"),
    [
        (("cat", "car"), ([3], [3]), 0.0),
        (("cat", "car"), ([3], [3]), 4.0),
        (("red cat", "blue car"), ([2, 3], [2, 3]), 4.0),
        (("cat", "grass"), ([3], [5]), 0.0),  # a word whose map is taken over
    ],
)
def test_the_target_is_the_source_where_no_word_is_attended_to(model, words, tokens, scale):
    candidate = replace(CANDIDATE, guidance_scale=scale)
    found = latents_of(model, [request_of(words)], [candidate])[0]
    places = refine_places(model._pipeline, *CAPTIONS)
    same = {"places": places, "max_self_tokens": 64, "size": (8, 8)}
    expected = plain_pair(model._pipeline, CAPTIONS, candidate, **same, blend=(*tokens, (4, 4), 0.8))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    is_kept = (found[0] == found[1]).all(dim=0)
    assert 0 < is_kept.sum() < is_kept.numel()
    plain = plain_pair(model._pipeline, CAPTIONS, candidate, **same)
    assert (plain[1] - expected[1]).abs().max() > 1e-2


def test_a_blend_leaves_the_other_pairs_of_the_batch_alone(model):
    requests = [request_of(None), request_of(("cat", "car")), request_of(None)]
    candidates = [replace(CANDIDATE, seed=seed) for seed in range(3)]
    together = latents_of(model, requests, candidates)
    for request, candidate, found in zip(requests, candidates, together, strict=True):
        torch.testing.assert_close(found, latents_of(model, [request], [candidate])[0], atol=1e-4, rtol=1e-4)


def test_only_maps_of_the_words_are_held(model):
    prepared = model.prepare([request_of(None), request_of(("cat", "car"))])
    maps = word_maps(prepared, PairSettings(**SETTINGS), 0)
    assert maps._sum_K2gg.shape == (1, 2, 4, 4)
    assert maps.num_queries == 16
    assert word_maps(prepared[:1], PairSettings(**SETTINGS), 0) is None


def test_words_that_were_cut_off_lead_no_blend(model):
    captions = ("red " * 80 + "cat", "blue " * 80 + "car")
    (prepared,) = model.prepare([request_of(("cat", "car"), captions)])
    assert prepared.blend_words_2L is None
    (prepared,) = model.prepare([request_of(("red cat", "car"), captions)])
    assert prepared.blend_words_2L.any(dim=1).tolist() == [True, False]


def test_words_that_are_not_in_the_caption_are_refused(model):
    with pytest.raises(ValueError) as caught:
        model.prepare([request_of(("cat", "cat"))])
    assert str(caught.value) == "the word 'cat' is not in the caption 'a blue car on grass'; name a word of it"


def test_a_grid_that_no_layer_has_is_refused(tmp_path):
    other = PromptToPrompt(weights_at(save_stable_diffusion(tmp_path)), placement(8), size_px=64)
    with pytest.raises(ValueError) as caught:
        latents_of(other, [request_of(("cat", "car"))], [CANDIDATE])
    assert str(caught.value) == "no cross-attention has maps of (2, 2) for the local blend; set blend_grid"


def test_a_blend_over_a_photograph_keeps_the_photograph(tmp_path):
    settings = {**SETTINGS, "source": "photograph"}
    model = sharpen(PromptToPrompt(weights_at(save_stable_diffusion(tmp_path)), placement(8), **settings))
    request = replace(request_of(("cat", "car")), anchor=make_image(64, 64, 1))
    (prepared,) = model.prepare([request])
    source, target = latents_of(model, [request], [replace(CANDIDATE, strength=0.75)])[0]
    is_kept = (source == target).all(dim=0)
    assert 0 < is_kept.sum() < is_kept.numel()
    torch.testing.assert_close(source, prepared.latent_Chw)
