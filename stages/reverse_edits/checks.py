"""Check a reverse instruction with the rules for edits of language models, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from stages.language_edits.alignment import align
from stages.language_edits.checks import is_in_another_language
from stages.language_edits.edit_kinds import EDIT_KINDS
from stages.language_edits.judged import EditFault, Judged
from stages.language_edits.reverse_checks import does_not_undo, reverse_invents
from stages.language_edits.schema import LONGEST_FIELD, EditAnswer
from stages.language_edits.words import POSITION_STEMS, words
from stages.reverse_edits.triple import ADD_VERBS, REMOVE_VERBS, without_opening

if TYPE_CHECKING:
    from collections.abc import Callable


MOST_WORDS = 300
"""Words of a caption or an instruction: to align two captions may take time by the third power of their words."""


class NoReverse(StrEnum):
    """Why an edit got no reverse instruction: for the last one that was tried, the check that it failed."""

    MISSING_TEXT = "missing_text"  # no instruction, or one of the captions is absent
    NO_CHANGE = "no_change"  # both captions say the same
    NO_RULE = "no_rule"  # no rule is sure, and there is no model
    UNPARSABLE = "unparsable"
    WRONG_LENGTH = "wrong_length"  # of the reverse instruction, or of a text of the edit
    OTHER_LANGUAGE = "other_language"
    REVERSE_DOES_NOT_UNDO = "reverse_does_not_undo"
    REVERSE_INVENTS = "reverse_invents"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardEdit:
    """The edit that is to be undone. `edit_type` and `thing` may be empty."""

    source: str
    target: str
    instruction: str
    edit_type: str = ""
    thing: str = ""


def is_too_long(text: str) -> bool:
    """True for a caption or an instruction that neither rules nor a model are given."""
    return len(text) > LONGEST_FIELD or len(words(text)) > MOST_WORDS


def fault_of(edit: ForwardEdit, reverse: str, max_words: int) -> NoReverse | None:
    """The first check that a reverse instruction fails, or None."""
    if not 2 <= len(words(reverse)) <= max_words:
        return NoReverse.WRONG_LENGTH
    edit = replace(edit, source=without_opening(edit.source), target=without_opening(edit.target))
    judged = Judged(
        caption=edit.source,
        edit_type=type_of(edit),
        answer=EditAnswer(type_of(edit), edit.instruction, edit.thing, edit.target, reverse),
    )
    return next((NoReverse(fault.value) for fault, fails in CHECKS.items() if fails(judged)), None)


def _is_foreign(judged: Judged) -> bool:
    """The reverse instruction alone is judged: the other texts are the input's."""
    reverse = judged.answer.reverse_instruction
    return is_in_another_language(
        replace(judged, answer=replace(judged.answer, instruction=reverse, target_caption=judged.caption))
    )


CHECKS: dict[EditFault, Callable[[Judged], bool]] = {
    EditFault.OTHER_LANGUAGE: _is_foreign,
    EditFault.REVERSE_INVENTS: reverse_invents,
    EditFault.REVERSE_DOES_NOT_UNDO: does_not_undo,
}


def type_of(edit: ForwardEdit) -> str:
    """The edit's own type where it is a known one, else what its captions and its first word say."""
    if edit.edit_type in EDIT_KINDS:
        return edit.edit_type
    change, verb = align(edit.source, edit.target), next(iter(words(edit.instruction)), "")
    went, came = set(change.removed) - POSITION_STEMS, set(change.added) - POSITION_STEMS
    if verb in ADD_VERBS and came and not went:
        return "add"
    if verb in REMOVE_VERBS and went and not came:
        return "remove"
    return "replace" if change.removed and change.added else "transform_global"
