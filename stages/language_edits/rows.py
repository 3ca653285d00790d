"""Rows of stage `write_edits`: the columns of an edit, the children of a caption, and the rejection of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.language_edits.alignment import phrases
from stages.language_edits.edit_kinds import kind_of
from stages.language_edits.schema import EditAnswer, excerpt

if TYPE_CHECKING:
    from stages.language_edits.judged import EditFault

Row = dict[str, Any]


def edit_row(caption: str, edit_type: str, answer: EditAnswer, writer: str) -> Row:
    """The columns of an edit of that type of a caption, its phrases found by alignment."""
    source_phrase, target_phrase = phrases(caption, answer.target_caption, answer.object)
    scope = kind_of(edit_type).scope
    return {
        "source_caption": caption,
        "target_caption": answer.target_caption,
        "instruction": answer.instruction,
        "reverse_instruction": answer.reverse_instruction,
        "edit_type": edit_type,
        "source_phrase": "" if scope == "add" else source_phrase,
        "target_phrase": "" if scope == "remove" else target_phrase,
        "edit_object": answer.object,
        "edit_writer": writer,
    }


def answer_in(row: Row) -> EditAnswer:
    """The edit of a row, as its checks see it."""
    return EditAnswer(
        edit_type=row["edit_type"],
        instruction=row["instruction"],
        object=row["edit_object"],
        target_caption=row["target_caption"],
        reverse_instruction=row["reverse_instruction"],
    )


def children(sample_id: str, edits: list[Row]) -> list[Row]:
    """The edits of a caption, numbered from 1."""
    return [
        {SAMPLE_ID: f"{sample_id}-e{number}", PARENT_ID: sample_id, **edit}
        for number, edit in enumerate(edits, start=1)
    ]


def rejection(sample_id: str, fault: EditFault, detail: str) -> Row:
    """The row of a caption that has no edit, with the beginning of `detail`."""
    return {SAMPLE_ID: sample_id, REJECT_REASON: fault.value, REJECT_DETAIL: excerpt(detail)}
