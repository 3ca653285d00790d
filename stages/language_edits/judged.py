"""An answer of a language model as its checks see it: its texts, all that they are compared with, and the faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from stages.language_edits.alignment import Change, align
from stages.language_edits.edit_kinds import EditKind, kind_of
from stages.language_edits.words import content

if TYPE_CHECKING:
    from stages.language_edits.schema import EditAnswer


class EditFault(StrEnum):
    """Why an answer is no edit to keep, or why a caption gets none."""

    NO_CAPTION = "no_caption"
    UNPARSABLE = "unparsable"
    OTHER_CAPTION = "other_caption"
    OTHER_EDIT_TYPE = "other_edit_type"
    WRONG_LENGTH = "wrong_length"
    OTHER_LANGUAGE = "other_language"
    NO_CHANGE = "no_change"
    REWRITTEN_CAPTION = "rewritten_caption"
    ABSENT_THING = "absent_thing"
    THING_ALREADY_THERE = "thing_already_there"
    UNNAMED_CHANGE = "unnamed_change"
    COPIED_EXAMPLE = "copied_example"
    DUPLICATE_EDIT = "duplicate_edit"
    REVERSE_DOES_NOT_UNDO = "reverse_does_not_undo"
    REVERSE_INVENTS = "reverse_invents"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Bounds on numbers of words: of both instructions, and of the target caption."""

    min_instruction: int = 2
    max_instruction: int = 30
    min_caption: int = 2
    max_caption: int = 60


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An answer, and all that its checks compare it with.

    `shown_instructions` and `shown_targets` are what its prompt showed, normalised; `earlier` the parent's other edits.
    """

    caption: str
    edit_type: str
    answer: EditAnswer
    lengths: Lengths = field(default_factory=Lengths)
    shown_instructions: frozenset[str] = frozenset()
    shown_targets: frozenset[str] = frozenset()
    earlier: tuple[EditAnswer, ...] = ()

    @cached_property
    def change(self) -> Change:
        """The alignment of the two captions."""
        return align(self.caption, self.answer.target_caption)

    @cached_property
    def kind(self) -> EditKind:
        """Bounds of the type asked for."""
        return kind_of(self.edit_type)

    @cached_property
    def source(self) -> frozenset[str]:
        """Stems that the source caption names."""
        return frozenset(content(self.caption))

    @cached_property
    def target(self) -> frozenset[str]:
        """Stems that the target caption names."""
        return frozenset(content(self.answer.target_caption))

    @cached_property
    def instruction(self) -> frozenset[str]:
        """Stems that the instruction names."""
        return frozenset(content(self.answer.instruction))

    @cached_property
    def reverse(self) -> frozenset[str]:
        """Stems that the reverse instruction names."""
        return frozenset(content(self.answer.reverse_instruction))
