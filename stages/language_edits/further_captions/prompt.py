"""The prompt for a further pair of captions to which a request applies, and the answer to it.

The prompt shows the pairs that the request has, its own one first, so that the model sees what is taken. Example edits
come before them, each as a request with one pair.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stages.language_edits.further_captions.pairs import CaptionPair, PairFault
from stages.language_edits.judged import EditFault
from stages.language_edits.repair import ADVICE
from stages.language_edits.schema import CAPTION, EditAnswer, object_in, plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import StrEnum

    from models.language.example_sets import ExampleEdit

ANSWERED = ("object", "target_caption", "reverse_instruction")
"""Fields of the answer beside the caption; instruction and type of edit are those of the request."""
INTRODUCTION = (
    "Each request below asks for an edit that many photographs can get. You describe one more photograph for it as a "
    "JSON object: caption, the caption of that photograph; object, the thing that the request is about; "
    "target_caption, the caption of the edited photograph; reverse_instruction, the request that turns the edited "
    "photograph back."
)
RULES = (
    "Rules: every photograph of a request shows another scene: other things, colours or places. Its caption has the "
    "thing that the request speaks of, as it is before the edit. The target caption repeats the caption word by word "
    "and changes only what the request asks for. The reverse instruction says nothing of the photograph that the "
    "caption does not say."
)
ASK = "Request: {instruction}\nEdit type: {edit_type}\nPhotograph as JSON: "
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in (CAPTION, *ANSWERED)},
    "required": [CAPTION, *ANSWERED],
    "additionalProperties": False,
}
PAIR_ADVICE = ADVICE | {
    EditFault.ABSENT_THING: "the request speaks of a thing that caption does not name; write a caption that names it",
    EditFault.THING_ALREADY_THERE: (
        "what the request adds is in caption already, or what it removes is still in target_caption"
    ),
    EditFault.UNNAMED_CHANGE: (
        "target_caption says things that the request does not ask for, or lacks what it asks for; let the two agree"
    ),
    EditFault.COPIED_EXAMPLE: "the photograph is one of those shown; think of another one",
    PairFault.SAME_CAPTION: "caption names the same things as one above; think of another scene",
    PairFault.ALREADY_EDITED: "caption describes a photograph that has this edit already; describe one without it",
}
"""Fault of a further pair -> words for the model."""


def pair_prompt(pairs: Sequence[CaptionPair], examples: Sequence[ExampleEdit]) -> str:
    """The prompt for one more pair beside those, which share an instruction."""
    parts = [INTRODUCTION, RULES, *map(_example, examples)]
    parts += [_asked(pair) + _answer(pair.caption, pair.answer) for pair in pairs]
    return "\n\n".join([*parts, _asked(pairs[0])])


def repair_prompt(prompt: str, pair: CaptionPair, faults: Sequence[StrEnum]) -> str:
    """The prompt, the faulty answer, its faults, and the question again."""
    wrong = "\n".join(f"- {PAIR_ADVICE[fault]}" for fault in faults)
    answer = _answer(pair.caption, pair.answer)
    return (
        f"{prompt}{answer}\n\nThat answer has faults:\n{wrong}\nWrite the whole photograph again without them.\n\n"
        f"{_asked(pair)}"
    )


def parse_pair(text: str, own: EditAnswer) -> CaptionPair | None:
    """The pair in an answer, with the own edit's instruction and type, or None where a field is no plain text."""
    found = object_in(text)
    caption, thing, target, reverse = (plain_text(found.get(name)) for name in (CAPTION, *ANSWERED))
    if not (caption and thing and target and reverse):
        return None
    return CaptionPair(caption, EditAnswer(own.edit_type, own.instruction, thing, target, reverse))


def _asked(pair: CaptionPair) -> str:
    return ASK.format(instruction=pair.answer.instruction, edit_type=pair.answer.edit_type)


def _example(example: ExampleEdit) -> str:
    asked = ASK.format(instruction=example.instruction, edit_type=example.edit_type)
    return asked + _answer(example.caption, example)


def _answer(caption: str, edit: EditAnswer | ExampleEdit) -> str:
    fields = {name: getattr(edit, name) for name in ANSWERED}
    return json.dumps({CAPTION: caption, **fields}, ensure_ascii=False)
