"""Tokens of captions: those of each word, and what a request asks of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.diffusion.prompt_to_prompt.alignment import MapEdit, refined, replaced, reweighted, word_places
from models.words import plain_word

if TYPE_CHECKING:
    from models.protocols import Floats, PairRequest

# L tokens that the text encoder reads


def map_edit(request: PairRequest, tokenizer: Any, length: int) -> MapEdit:
    """How the cross-attention maps of a pair are edited. Raises ValueError for a weight of a word that is not there."""
    source, target = request.source_caption, request.target_caption
    if request.edit == "replace" and len(source.split()) == len(target.split()):
        before, after = ([places for _, places in words_of(text, tokenizer, length)] for text in (source, target))
        edit = replaced(before, after, length)
    else:
        edit = refined(*token_ids(request, tokenizer, length), length)
    weights = {
        token: weight
        for word, weight in request.word_weights.items()
        for token in tokens_of(word, request.target_caption, tokenizer, length)
    }
    return reweighted(edit, weights) if weights else edit


def token_ids(request: PairRequest, tokenizer: Any, length: int) -> tuple[list[int], list[int]]:
    """Tokens of both captions with start and end, cut as the text encoder cuts them."""
    source, target = (
        tokenizer(caption, truncation=True, max_length=length).input_ids
        for caption in (request.source_caption, request.target_caption)
    )
    return source, target


def blend_tokens(request: PairRequest, tokenizer: Any, length: int) -> Floats | None:
    """(2, L): 1 for the tokens of the words that lead the local blend, in source and target.

    None without words, and where all of them were cut off with the end of their captions: nothing can lead then.
    Raises ValueError for words that are not in their caption.
    """
    import numpy as np

    if request.blend_words is None:
        return None
    found = np.zeros((2, length), np.float32)
    captions = (request.source_caption, request.target_caption)
    for row, (words, caption) in enumerate(zip(request.blend_words, captions, strict=True)):
        for word in words.split():
            found[row, tokens_of(word, caption, tokenizer, length)] = 1
    return found if found.any() else None


def words_of(caption: str, tokenizer: Any, length: int) -> list[tuple[str, range]]:
    """Words of a caption in lower case, without punctuation, each with the places of its tokens.

    Words end at spaces. Tokenizers of CLIP never join two words, so each is counted alone.
    """
    words = caption.split()
    num_tokens = [len(tokenizer(word, add_special_tokens=False).input_ids) for word in words]
    places = word_places(num_tokens, length)
    return [(plain_word(word), span) for word, span in zip(words, places, strict=True)]


def tokens_of(word: str, caption: str, tokenizer: Any, length: int) -> list[int]:
    """Places of the tokens of a word, wherever it is in the caption. Raises ValueError when it is not there."""
    wanted = plain_word(word)
    found = [places for other, places in words_of(caption, tokenizer, length) if other == wanted]
    if not found:
        raise ValueError(f"the word {word!r} is not in the caption {caption!r}; name a word of it")
    return [token for places in found for token in places]
