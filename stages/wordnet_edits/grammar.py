"""English at the level of words: tokens with their place, case, articles, number, and replacing a span.

Pure functions of text. The meaning of words is left to WordNet (`stages.wordnet_edits.phrases` and `edits`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

_MARK = "\x01"  # replaces a combining mark: `re` knows no class of them
_WORD = re.compile(rf"(?:[^\W_]{_MARK}*)+(?:['\u2019-](?:[^\W_]{_MARK}*)+)*")  # \u2019 is the typographic apostrophe

_ARTICLE_AT_END = re.compile(r"(?<![^\s])(an?)\s+$", re.IGNORECASE)

MARKS, JOINERS = frozenset({"Mn", "Mc", "Me"}), frozenset("\u00ad\u200c\u200d")
"""Categories and characters that belong to the letter before them; \u00ad is the soft hyphen."""
INDEFINITE_ARTICLES = frozenset({"a", "an"})


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a caption and its place: `caption[start:end] == text`. Look-ups use `lower`."""

    text: str
    start: int
    end: int
    lower: str


def word_set(text: str) -> frozenset[str]:
    """The words of a curated list written as plain text."""
    return frozenset(text.split())


def tokenise(caption: str) -> list[Token]:
    """The words of a caption in order, with their marks. Hyphens and apostrophes inside a word keep it one word."""
    spans = [match.span() for match in _WORD.finditer(_with_marks_masked(caption))]
    return [
        Token(text=caption[start:end], start=start, end=end, lower=caption[start:end].lower()) for start, end in spans
    ]


def _with_marks_masked(caption: str) -> str:
    """The caption, as long as it was, with each combining mark (accent, vowel sign, joiner) as `_MARK`."""
    plain = caption.replace(_MARK, " ")
    if plain.isascii():
        return plain
    return "".join(_MARK if unicodedata.category(c) in MARKS or c in JOINERS else c for c in plain)


def match_case(word: str, like: str) -> str:
    """`word` in the case of `like`: ALL CAPITALS, Capitalised, or as it is."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def indefinite(phrase: str) -> str:
    """`phrase` with the article that its first word takes: an hour, a unicorn."""
    return f"{article_for(phrase)} {phrase}"


def article_for(phrase: str) -> str:
    """`a` or `an`, by the sound of the first word of `phrase`."""
    return _article_of_word(phrase.split(" ", 1)[0].lower())


@lru_cache(maxsize=65536)
def _article_of_word(word: str) -> str:
    return str(_engine().a(word)).split(" ", 1)[0]


@lru_cache(maxsize=65536)
def pluralise(noun: str) -> str:
    """The plural of a singular noun or compound: benches, wolves, sheep, clock towers."""
    return str(_engine().plural_noun(noun)) or noun


def replace_span(caption: str, start: int, end: int, replacement: str) -> str:
    """The caption with `caption[start:end]` replaced, its case kept and an `a` or `an` right before it corrected."""
    replacement = match_case(replacement, caption[start:end])
    before = caption[:start]
    found = _ARTICLE_AT_END.search(before)
    if found is not None:
        article, wanted = found.group(1), article_for(replacement)
        if wanted != article.lower():
            spelled = wanted.capitalize() if article[0].isupper() else wanted
            before = before[: found.start(1)] + spelled + before[found.end(1) :]
    return before + replacement + caption[end:]


@cache
def _engine() -> Any:
    """The grammar, without run-time checks of its arguments' types: inflect takes two seconds to compile them."""
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = lambda function: function  # type: ignore[assignment]
    try:
        import inflect
    finally:
        typeguard.typechecked = checked
    return inflect.engine()
