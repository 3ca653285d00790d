"""Checks of a reverse instruction: that it undoes the edit, and names nothing that nobody has said."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from stages.language_edits.words import (
    COLOUR_STEMS,
    EDIT_VERBS,
    GENERIC_WORDS,
    LINK_WORDS,
    OPPOSITE_VERBS,
    POSITION_STEMS,
    POSITIONS,
    REMOVE_WORDS,
    RESTORE_WORDS,
    named_in,
    normalised,
    stem,
    with_general,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stages.language_edits.judged import Judged

PHOTOGRAPH = frozenset({"photograph", "photo", "picture"})
_PART_OF_DAY = re.compile(r"\btime of day\b", re.IGNORECASE)
_GENERIC = frozenset(map(stem, GENERIC_WORDS))
_VERBS = frozenset(map(stem, EDIT_VERBS))
_BEFORE_PARTICIPLES = frozenset({"be", "been", "get", "is", "are", "have"})
_ADDING = frozenset({"add", "attach", "give", "include", "insert", "place", "plant", "put"})
_BEFORE_NOUNS = frozenset({"a", "an", "the", "some", "its", "his", "her", "their", "these", "those"})


def does_not_undo(judged: Judged) -> bool:
    """The reverse instruction does not turn the target caption back into the source caption.

    It has to name what was taken away, or to ask for the former state; of a thing that was added, that thing. Where
    nothing was taken away, or the whole image changed, it may name what came, undo the state of the thing by a verb
    ("open", "repair"), or name another position.
    """
    answer, scope = judged.answer, judged.kind.scope
    if normalised(answer.reverse_instruction) == normalised(answer.instruction):
        return True
    found = {*words(answer.reverse_instruction)}
    if found & RESTORE_WORDS or (scope == "image" and found & PHOTOGRAPH):
        return False
    removed, added = judged.change.removed, judged.change.added
    if any(named_in(one, judged.reverse) for one in removed):
        return False
    names_added = any(named_in(one, judged.reverse) for one in added)
    if scope == "add":
        adds_more = _ADDING.issuperset(words(answer.reverse_instruction)[:1]) and not found & REMOVE_WORDS
        return not names_added or adds_more
    if scope == "thing" and found & POSITIONS and {*added} <= POSITION_STEMS and not {*removed} & POSITION_STEMS:
        return False
    if removed:
        return not (scope == "image" and names_added and found & REMOVE_WORDS)
    return not names_added and not (scope == "thing" and found & OPPOSITE_VERBS)


def reverse_invents(judged: Judged) -> bool:
    """The reverse instruction names what neither caption nor the instruction has: "back to white" of no white thing.

    A colour has to be one that came or went, or to stand before the same noun as in a caption.
    """
    known = with_general(judged.source | judged.target | judged.instruction) | _GENERIC
    found = words(_PART_OF_DAY.sub("time", judged.answer.reverse_instruction))
    if any(not named_in(stem(found[at]), known) and not _is_verb(found, at) for at in _contentful(found)):
        return True
    own = {*judged.change.removed, *judged.change.added}
    pairs = _pairs(judged.caption) | _pairs(judged.answer.target_caption)
    return any(
        first in COLOUR_STEMS and first not in own and (first, second) not in pairs
        for first, second in _pairs(judged.answer.reverse_instruction)
    )


def _contentful(found: tuple[str, ...]) -> Iterator[int]:
    return (at for at, word in enumerate(found) if word not in LINK_WORDS)


def _is_verb(found: tuple[str, ...], at: int) -> bool:
    """True for a verb of requests where no noun is, and for a first word like "Glue" in "Glue the saucer together"."""
    if at == 0 and len(found) > 1 and found[1] in _BEFORE_NOUNS:
        return True
    before = found[at - 1] if at else ""
    is_adjective = found[at].endswith("ed") and found[at] not in EDIT_VERBS and before not in _BEFORE_PARTICIPLES
    return stem(found[at]) in _VERBS and before not in _BEFORE_NOUNS and not is_adjective


def _pairs(text: str) -> set[tuple[str, str]]:
    """Each word with the one after it, as stems; the last with an empty one."""
    stems = [stem(word) for word in words(text)]
    return set(itertools.pairwise([*stems, ""]))
