"""Nouns that name things: the bundled vocabulary, the nouns of a caption, and those of all captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.wordnet_edits.phrases import PLACES, noun_phrases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.language.wordnet import WordNet

FILE = Path(__file__).with_name("vocabulary.txt")


def everyday_things() -> tuple[str, ...]:
    """The bundled vocabulary: words for things that are seen on photographs, in the singular."""
    return tuple(FILE.read_text(encoding="utf-8").split("\n")[:-1])


def caption_nouns(caption: str, wordnet: WordNet) -> tuple[str, ...]:
    """The head of each noun phrase of a caption, in the singular, each once. Nouns that say where are left out."""
    heads = [phrase.lemma for phrase in noun_phrases(caption, wordnet) if phrase.noun not in PLACES]
    return tuple(dict.fromkeys(heads))


def counted_nouns(counts: Mapping[str, int], min_count: int, wordnet: WordNet) -> tuple[str, ...]:
    """The nouns among the counted words, in the singular, in the order of the alphabet.

    A word is a noun where WordNet has counted it at least as often as a noun as in any other part of speech.
    """
    found: dict[str, int] = {}
    for word, count in counts.items():
        noun = wordnet.lemma(word, "n")
        if noun is not None and wordnet.count(noun, "n") >= max(
            _count(word, kind, wordnet) for kind in ("v", "a", "r")
        ):
            found[noun] = found.get(noun, 0) + count
    return tuple(sorted(noun for noun, count in found.items() if count >= min_count))


def _count(word: str, kind: str, wordnet: WordNet) -> int:
    """How often WordNet counted the word in that part of speech; without a count, whether it has it at all."""
    lemma = wordnet.lemma(word, kind)
    return 0 if lemma is None else max(1, wordnet.count(lemma, kind))
