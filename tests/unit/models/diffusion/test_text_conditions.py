"""Tokens of words against the tokenizer by hand, and texts that are dropped."""

from types import SimpleNamespace

import pytest
import torch
from _checkpoints import LENGTH, clip_tokenizer

from models.diffusion.text_conditions import TextCondition, without_text, word_tokens
from models.schemes.zoo import ZOO

LONG = "a photo of a cat on the grass on the blue car of a red cat"
IS_DROPPED_B = torch.tensor([False, True, True])


def clip_of_zoo():
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(ZOO / "sd" / "tokenizer")


def clip_padded_by_zeros():
    """As the tokenizer of SD 2 and the second one of SDXL, whose padding is no end of text."""
    tokenizer = clip_tokenizer()
    tokenizer.pad_token = "!"
    return tokenizer


@pytest.fixture(params=[clip_tokenizer, clip_padded_by_zeros, clip_of_zoo])
def tokenizer(request):
    return request.param()


def tokens(tokenizer, text):
    return word_tokens(SimpleNamespace(tokenizer=tokenizer), [text])[0]


@pytest.mark.parametrize("text", ["make the car blue", "a red cat", "cat"])
def test_words_are_the_tokens_between_start_and_end(tokenizer, text):
    inside, ids = tokens(tokenizer, text), tokenizer(text).input_ids
    assert (inside.dtype, len(inside)) == (torch.bool, tokenizer.model_max_length)
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert inside.nonzero()[:, 0].tolist() == list(range(1, len(ids) - 1))


def test_texts_of_unlike_lengths_have_tokens_of_their_own(tokenizer):
    texts = ["cat", "a red cat", ""]
    together = word_tokens(SimpleNamespace(tokenizer=tokenizer), texts)
    assert together.sum(1).tolist() == [len(tokenizer.tokenize(text)) for text in texts]
    for row, text in enumerate(texts):
        assert torch.equal(together[row], tokens(tokenizer, text))


def test_text_that_is_cut_has_words_up_to_its_end(tokenizer):
    text = f"{LONG} {LONG} {LONG}"
    assert len(tokenizer.tokenize(text)) > tokenizer.model_max_length
    inside = tokens(tokenizer, text)
    assert inside.tolist() == [False, *[True] * (tokenizer.model_max_length - 2), False]


def test_text_that_just_fits_has_all_its_words():
    tokenizer = clip_tokenizer()
    assert tokens(tokenizer, "cat " * (LENGTH - 2)).tolist() == [False, *[True] * (LENGTH - 2), False]
    assert tokens(tokenizer, "cat " * (LENGTH - 3)).tolist() == [False, *[True] * (LENGTH - 3), False, False]


def test_empty_text_has_no_words(tokenizer):
    assert not tokens(tokenizer, "").any()


@pytest.mark.parametrize("has_pooled", [True, False])
def test_dropped_texts_are_replaced_by_the_one_of_no_text(has_pooled):
    texts = TextCondition(torch.rand(3, 5, 4), torch.rand(3, 6) if has_pooled else None)
    nothing = TextCondition(torch.rand(1, 5, 4), torch.rand(1, 6) if has_pooled else None)
    found = without_text(texts, nothing, IS_DROPPED_B)
    assert torch.equal(found.tokens_BLD[0], texts.tokens_BLD[0])
    assert torch.equal(found.tokens_BLD[1:], nothing.tokens_BLD.expand(2, -1, -1))
    if not has_pooled:
        assert found.pooled_BD is None
        return
    assert torch.equal(found.pooled_BD[0], texts.pooled_BD[0])
    assert torch.equal(found.pooled_BD[1:], nothing.pooled_BD.expand(2, -1))
