"""Places of photographs that can be exchanged: "on a beach" for "in a forest". WordNet knows no preposition of theirs.

The groups are chosen. A place changes with its preposition and article, so a rule for single words cannot do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.language_edits.further_captions.swaps import Swap
from stages.language_edits.words import words
from stages.wordnet_edits.grammar import INDEFINITE_ARTICLES
from stages.wordnet_edits.phrases import FUNCTION_WORDS, NEVER_VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stages.wordnet_edits.grammar import Token

OUTDOORS = (
    "on a beach", "in a meadow", "in a field", "in a park", "in a garden", "in a forest", "on a street",
    "in the desert", "in the mountains",
)  # fmt: skip
INDOORS = ("in a kitchen", "in a bedroom", "in a living room", "in an office", "in a library", "in a restaurant")
PREPOSITIONS = frozenset({"in", "on", "at"})
ARTICLES = INDEFINITE_ARTICLES | {"the"}
_GROUPS = tuple(tuple(words(phrase) for phrase in group) for group in (OUTDOORS, INDOORS))


def place_swaps(tokens: Sequence[Token]) -> Iterator[list[Swap]]:
    """The swaps of each place that a caption names where its thing is, in order."""
    found = [token.lower for token in tokens]
    for at in range(1, len(found) - 2):
        if found[at] in PREPOSITIONS and found[at + 1] in ARTICLES and not _is_verb(found[at - 1]):
            for group in _GROUPS:
                for phrase in group:
                    end = at + len(phrase)
                    if tuple(found[at + 2 : end]) == phrase[2:] and (end == len(found) or found[end] in FUNCTION_WORDS):
                        yield [_swap(found[at:end], other, at) for other in group if other != phrase]


def _swap(old: Sequence[str], new: tuple[str, ...], at: int) -> Swap:
    noun, other = " ".join(old[2:]), " ".join(new[2:])
    return Swap(
        first=at,
        last=at + len(old),
        new=" ".join(new),
        naming=(tuple(old[2:]), new[2:]),
        renamings=(
            (" ".join(old), " ".join(new)),
            *((f"{article} {noun}", f"{new[1]} {other}") for article in sorted(INDEFINITE_ARTICLES)),
            (f"the {noun}", f"the {other}"),
        ),
    )


def _is_verb(word: str) -> bool:
    """True for "surfing on a beach": what is done there may need the place."""
    return word.endswith(("ing", "ed")) and word not in NEVER_VERBS
