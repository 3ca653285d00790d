"""Further captions without a language model: words of the caption that the instruction does not name change.

Nouns become co-hyponyms, colours other colours, adjectives antonyms, as `EditFinder` finds them; places become others
of their group. Several words may change at once. Each pair passes the checks of edits before it is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stages.language_edits.further_captions.pairs import CaptionPair, SharedEdit, judge, take
from stages.language_edits.further_captions.places import place_swaps
from stages.language_edits.further_captions.swaps import Swap, Swappable, swapped
from stages.language_edits.judged import Judged, Lengths
from stages.language_edits.words import COLOURS, words
from stages.wordnet_edits.grammar import tokenise

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence

    from stages.wordnet_edits.edits import EditFinder
    from stages.wordnet_edits.requests import Site

MOST_SWAPS = 3
"""Most words of a caption that change at once; more would soon make an unlikely scene."""
MOST_TRIES = 6
"""Draws for each pair that is wanted: many of a caption with few words to change give the same one."""

PAIRS_KEPT = 256
"""Pairs of which the swaps are kept for further draws."""


class WordnetPairs:
    """Varies the captions of edits. With `counts`, words come from captions that have them `min_count` times."""

    writer = "wordnet"

    def __init__(
        self, finder: EditFinder, lengths: Lengths, counts: Mapping[str, int] | None = None, min_count: int = 1
    ) -> None:
        self._finder, self._lengths = finder, lengths
        self._counts, self._min_count = counts, min_count
        self._opened = lru_cache(maxsize=PAIRS_KEPT)(self._open)

    def find(self, edits: Sequence[SharedEdit], notes: Counter[str]) -> None:
        """Fill in the further pairs of each edit, as many as there are."""
        for edit in edits:
            for _ in range(MOST_TRIES * edit.wanted):
                pair = self._varied(edit.own, edit.rng)
                if pair is None or len(edit.further) == edit.wanted:
                    break
                take(edit, pair, judge(edit, self._judged(pair)), notes)

    def _judged(self, pair: CaptionPair) -> Judged:
        answer = pair.answer
        return Judged(caption=pair.caption, edit_type=answer.edit_type, answer=answer, lengths=self._lengths)

    def _varied(self, pair: CaptionPair, rng: random.Random) -> CaptionPair | None:
        """The pair with one to `MOST_SWAPS` of its words changed, or None where none can."""
        put: set[str] = set()
        varied = None
        for _ in range(rng.randint(1, MOST_SWAPS)):
            found = self._swapped_once(varied or pair, put, rng)
            if found is None:
                break
            varied, swap = found
            put |= {*swap.naming[1]}
        return varied

    def _swapped_once(self, pair: CaptionPair, put: set[str], rng: random.Random) -> tuple[CaptionPair, Swap] | None:
        """A swap that is drawn and what it gives, of words that no earlier swap put there."""
        old, sites = self._opened(pair)
        for swaps in rng.sample(sites, len(sites)):
            for swap in rng.sample(swaps, len(swaps)):
                if put.isdisjoint(swap.naming[0]) and self._is_known(swap.new) and (new := swapped(old, swap)):
                    return new, swap
        return None

    def _open(self, pair: CaptionPair) -> tuple[Swappable, list[list[Swap]]]:
        """The pair, and the swaps of each of its places."""
        old = Swappable(pair)
        return old, [*self._word_swaps(pair.caption), *place_swaps(old.change.source)]

    def _is_known(self, text: str) -> bool:
        counts = self._counts
        return counts is None or all(counts.get(word, 0) >= self._min_count for word in words(text))

    def _word_swaps(self, caption: str) -> Iterator[list[Swap]]:
        for site in self._finder.sites(caption):
            yield [swap for swap in _swaps_at(caption, site) if site.edit_type != "replace_noun" or _is_noun(swap)]


def _is_noun(swap: Swap) -> bool:
    """False for "orange": beside a thing with a colour it would not be read as the fruit."""
    return COLOURS.isdisjoint(swap.naming[1])


def _swaps_at(caption: str, site: Site) -> Iterator[Swap]:
    """A swap for each option of a site: the words in which its caption differs from this one, articles aside."""
    before = tokenise(caption)
    first = next(at for at, token in enumerate(before) if token.start == site.start)
    for option in site.options:
        after = tokenise(option.target_caption)
        same = 0
        while same < min(len(before), len(after)) - first - 1 and before[-1 - same].text == after[-1 - same].text:
            same += 1
        last, end = len(before) - same, len(after) - same
        old = caption[before[first].start : before[last - 1].end]
        new = option.target_caption[after[first].start : after[end - 1].end]
        yield Swap(first=first, last=last, new=new, naming=(words(old), words(new)), renamings=((old, new),))
