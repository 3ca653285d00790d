"""A second pass over a faulty answer: it is shown to the language model with its faults in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from stages.language_edits.judged import EditFault
from stages.language_edits.prompt import ASK
from stages.language_edits.schema import CAPTION, FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stages.language_edits.schema import EditAnswer

ADVICE = {
    EditFault.OTHER_CAPTION: "caption is not the caption that was given; repeat that one word by word",
    EditFault.OTHER_EDIT_TYPE: "edit_type is not the type asked for; write an edit of that type",
    EditFault.WRONG_LENGTH: "an instruction or target_caption is too short or too long; write plain short sentences",
    EditFault.OTHER_LANGUAGE: "the texts are not plain English requests to change a photograph; write them so",
    EditFault.NO_CHANGE: "target_caption says the same as the caption; let it describe the edited photograph",
    EditFault.REWRITTEN_CAPTION: (
        "target_caption changes more than the edit asks for; repeat the caption and change only those words"
    ),
    EditFault.ABSENT_THING: "instruction speaks of a thing that the caption does not name; speak of one that it names",
    EditFault.THING_ALREADY_THERE: (
        "the thing is in the wrong caption: what is added must be new, what is removed must be gone from target_caption"
    ),
    EditFault.UNNAMED_CHANGE: "target_caption says things that instruction does not ask for; let the two agree",
    EditFault.COPIED_EXAMPLE: "the edit is one of those shown; think of another one",
    EditFault.DUPLICATE_EDIT: "this edit was written for this caption before; think of another one",
    EditFault.REVERSE_DOES_NOT_UNDO: (
        "reverse_instruction does not undo the edit; name what was there before, or remove what was added"
    ),
    EditFault.REVERSE_INVENTS: (
        "reverse_instruction names something that no caption says; where the former state is not known, ask for the "
        "original one"
    ),
}
"""Fault of an answer that parsed -> words for the model."""


def repair_prompt(prompt: str, caption: str, edit_type: str, answer: EditAnswer, faults: Sequence[EditFault]) -> str:
    """The first prompt, the faulty answer, its faults, and the question again."""
    names = FIELDS if answer.caption is None else (CAPTION, *FIELDS)
    text = json.dumps({name: getattr(answer, name) for name in names}, ensure_ascii=False)
    wrong = "\n".join(f"- {ADVICE[fault]}" for fault in faults)
    again = ASK.format(caption=" ".join(caption.split()), edit_type=edit_type)
    return f"{prompt}{text}\n\nThat answer has faults:\n{wrong}\nWrite the whole edit again without them.\n\n{again}"
