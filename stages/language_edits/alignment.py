"""Two captions aligned word by word: what was taken away, what came, and the phrases that name both.

Pure functions of text. Words are compared in lower case, without punctuation.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING

from stages.language_edits.words import GENERIC_WORDS, GRAMMAR_WORDS, LINK_WORDS, stem, stems_of
from stages.wordnet_edits.grammar import tokenise
from stages.wordnet_edits.phrases import NEVER_VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stages.wordnet_edits.grammar import Token


@dataclass(frozen=True, slots=True)
class Place:
    """One place where the captions differ: words `source[i0:i1]` became words `target[j0:j1]`."""

    i0: int
    i1: int
    j0: int
    j1: int


@dataclass(frozen=True)
class Change:
    """The alignment of two captions."""

    source: tuple[Token, ...]
    target: tuple[Token, ...]
    places: tuple[Place, ...]

    @cached_property
    def removed_words(self) -> tuple[str, ...]:
        """Words of the source that the target has not at that place."""
        return tuple(token.lower for place in self.places for token in self.source[place.i0 : place.i1])

    @cached_property
    def added_words(self) -> tuple[str, ...]:
        """Words of the target that the source has not at that place."""
        return tuple(token.lower for place in self.places for token in self.target[place.j0 : place.j1])

    @cached_property
    def removed(self) -> tuple[str, ...]:
        """Stems of the removed words that carry meaning; a word that only moved is none."""
        return _without(stems_of(self.removed_words), stems_of(self.added_words))

    @cached_property
    def added(self) -> tuple[str, ...]:
        """Stems of the added words that carry meaning; a word that only moved is none."""
        return _without(stems_of(self.added_words), stems_of(self.removed_words))

    @property
    def is_none(self) -> bool:
        """True where no word changed but articles, auxiliaries and the like."""
        changed = {*self.removed_words, *self.added_words}
        return changed <= GRAMMAR_WORDS

    @cached_property
    def num_places(self) -> int:
        """Places where a word with meaning changed."""
        return sum(bool(self._changed_words(place) - LINK_WORDS) for place in self.places)

    def _changed_words(self, place: Place) -> set[str]:
        tokens = (*self.source[place.i0 : place.i1], *self.target[place.j0 : place.j1])
        return {token.lower for token in tokens}


def align(source: str, target: str) -> Change:
    """The alignment of two captions by the longest runs of words that both have."""
    before, after = tuple(tokenise(source)), tuple(tokenise(target))
    matcher = SequenceMatcher(None, [t.lower for t in before], [t.lower for t in after], autojunk=False)
    places = [Place(i0, i1, j0, j1) for tag, i0, i1, j0, j1 in matcher.get_opcodes() if tag != "equal"]
    return Change(before, after, tuple(places))


def phrases(source: str, target: str, thing: str) -> tuple[str, str]:
    """(source phrase, target phrase): what changes in each caption's words, the noun of `thing` included.

    A side on which nothing changes is named by the thing where its caption has it ("the dog" that gets a hat), else
    empty: the target of a removal, the source of an addition. A thing such as "background" is no noun of a caption.
    """
    change, noun = align(source, target), "" if thing.lower() in GENERIC_WORDS else head_of(thing)
    before = _phrase(change.source, [(place.i0, place.i1) for place in change.places], change.removed, noun)
    after = _phrase(change.target, [(place.j0, place.j1) for place in change.places], change.added, noun)
    return (
        before or _named(change.source, noun, change.added),
        after or _named(change.target, noun, change.removed),
    )


def _phrase(tokens: tuple[Token, ...], spans: list[tuple[int, int]], changed: tuple[str, ...], noun: str) -> str:
    """The changed words up to their noun, without link words: of several the one with the noun, else the longest."""
    parts = [part for span in spans for part in _parts(tokens, *span)]
    parts = [part for part in parts if any(stem(token.lower) in changed for token in tokens[slice(*part)])]
    if not parts:
        return ""
    for start, _ in parts:
        if reached := _noun_after(tokens, start, noun):
            return _text(tokens, start, reached)
    start, end = max(parts, key=lambda part: (part[1] - part[0], -part[0]))
    return _text(tokens, start, end if noun else _end_of_run(tokens, end))


def _end_of_run(tokens: tuple[Token, ...], end: int) -> int:
    """The end of the words after a change that belong to it: `sky` of "a cloudy sky", not `lying` of "a dog lying"."""
    while end < len(tokens) and tokens[end].lower not in LINK_WORDS and not _is_verb(tokens[end].lower):
        end += 1
    return end


def _is_verb(word: str) -> bool:
    return word.endswith(("ing", "ed")) and word not in NEVER_VERBS


def _parts(tokens: tuple[Token, ...], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of words between link words in a span."""
    index = start
    while index < end:
        first = index
        while index < end and tokens[index].lower not in LINK_WORDS:
            index += 1
        if index > first:
            yield first, index
        index += 1


def _text(tokens: tuple[Token, ...], start: int, end: int) -> str:
    return " ".join(token.lower for token in tokens[start:end])


def _noun_after(tokens: tuple[Token, ...], start: int, noun: str) -> int:
    """The end of the noun in the run of words that begins at `start`, or 0."""
    for index in range(start, len(tokens)):
        if tokens[index].lower in LINK_WORDS:
            return 0
        if stem(tokens[index].lower) == noun:
            return index + 1
    return 0


def _named(tokens: tuple[Token, ...], noun: str, changed: tuple[str, ...]) -> str:
    """The noun as the caption has it, or empty where it has it not or where it is what came or went."""
    if not noun or noun in changed:
        return ""
    return next((token.lower for token in tokens if stem(token.lower) == noun), "")


def head_of(thing: str) -> str:
    """The stem of the last word of the thing's name before an "of": `glass` of "a glass of wine"."""
    found = [token.lower for token in tokenise(thing)]
    cut = found.index("of") if "of" in found[1:] else len(found)
    return stem(found[cut - 1]) if found[:cut] else ""


def _without(stems: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """The stems that are not among the others, each as often as it is more often."""
    left = list(others)
    kept = []
    for one in stems:
        if one in left:
            left.remove(one)
        else:
            kept.append(one)
    return tuple(kept)
