"""Exchange words of a caption, and with them those of its edit, so that the same instruction applies to the new pair.

Words that both captions have at one place change in both; words that the edit removes change in the source alone, and
in the reverse instruction that brings them back. A swap that would leave any text untrue gives no pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from stages.language_edits.alignment import Change, align
from stages.language_edits.further_captions.pairs import CaptionPair
from stages.language_edits.words import content, named_in, stem, with_general, words
from stages.wordnet_edits.grammar import replace_span, tokenise
from stages.wordnet_edits.visual_kinds import ANTONYM_NOUNS, GENDERED_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

PERSONS = frozenset(word for pair in ANTONYM_NOUNS for word in pair)


@dataclass(frozen=True, slots=True)
class Swap:
    """The words `first` to `last` of the source caption become the text `new`."""

    first: int
    last: int
    new: str
    naming: tuple[tuple[str, ...], tuple[str, ...]]
    """The words that name the thing, before and after: of "on a beach" the one word "beach"."""
    renamings: tuple[tuple[str, str], ...]
    """Text -> text, for the reverse instruction and the name of the object: the first is that of the captions."""


@dataclass(frozen=True)
class Swappable:
    """A pair of captions with all that the rules on swaps look at."""

    pair: CaptionPair

    @cached_property
    def change(self) -> Change:
        """The alignment of its captions."""
        return align(self.pair.caption, self.pair.answer.target_caption)

    @cached_property
    def kept(self) -> dict[int, int]:
        """Place in the source -> place in the target of each word that both captions have there."""
        i = j = 0
        found: dict[int, int] = {}
        ends = [(place.i0, place.i1, place.j1) for place in self.change.places]
        for i0, i1, j1 in [*ends, (len(self.change.source), 0, 0)]:
            found |= {i + step: j + step for step in range(i0 - i)}
            i, j = i1, j1
        return found

    @cached_property
    def named(self) -> frozenset[str]:
        """Stems that the instruction names."""
        return frozenset(content(self.pair.answer.instruction))

    @cached_property
    def is_gendered(self) -> bool:
        """A text beside the source caption says "he" or "her" of a person."""
        answer = self.pair.answer
        return any(
            GENDERED_WORDS & {*words(text)}
            for text in (answer.instruction, answer.reverse_instruction, answer.target_caption)
        )


def swapped(old: Swappable, swap: Swap) -> CaptionPair | None:
    """The pair after the swap, or None where its instruction or another text would not be true of it."""
    if not _is_free(old, swap):
        return None
    answer, caption = old.pair.answer, old.pair.caption
    places = [old.kept.get(at) for at in range(swap.first, swap.last)]
    target = answer.target_caption
    if None not in places:
        start, end = places[0], places[-1]
        assert start is not None
        assert end is not None
        if end - start != swap.last - swap.first - 1:
            return None
        target = _put(target, old.change.target[start].start, old.change.target[end].end, swap.new)
    elif _stems(swap.naming[0]) & {*content(target)}:
        return None
    reverse, thing = (_renamed(text, swap) for text in (answer.reverse_instruction, answer.object))
    if not _is_true(reverse, swap) or not _is_true(thing, swap):
        return None
    first, last = old.change.source[swap.first], old.change.source[swap.last - 1]
    return CaptionPair(
        _put(caption, first.start, last.end, swap.new),
        replace(answer, target_caption=target, reverse_instruction=reverse, object=thing),
    )


def _is_free(old: Swappable, swap: Swap) -> bool:
    """The instruction names neither words, each text has the old ones once at most, and none has the new ones."""
    before, after = map(_stems, swap.naming)
    if any(named_in(one, old.named) for one in with_general(before | after)):
        return False
    if PERSONS & {*swap.naming[0]} and old.is_gendered:
        return False
    for text in (old.pair.caption, old.pair.answer.target_caption):
        found = content(text)
        if any(found.count(one) > 1 for one in before) or any(
            named_in(one, frozenset(found)) for one in after - before
        ):
            return False
    return bool(after - before)


def _is_true(text: str, swap: Swap) -> bool:
    """The text does not speak of the old thing, unless by a general word that holds for the new one."""
    before, after = map(with_general, map(_stems, swap.naming))
    return not any(named_in(one, before - after) for one in content(text))


def _renamed(text: str, swap: Swap) -> str:
    for old, new in swap.renamings:
        for start, end in reversed([*_found(text, words(old))]):
            text = _put(text, start, end, new)
    return text


def _found(text: str, wanted: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    tokens = tokenise(text)
    for at in range(len(tokens) - len(wanted) + 1):
        run = tokens[at : at + len(wanted)]
        if tuple(token.lower for token in run) == wanted:
            yield run[0].start, run[-1].end


def _put(text: str, start: int, end: int, new: str) -> str:
    return replace_span(text, start, end, new)


def _stems(found: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(stem, found))
