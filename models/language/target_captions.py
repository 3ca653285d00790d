"""Writes the caption of the edited image from the caption of the image and the instruction.

Source  Beyond Editing Pairs (arXiv 2505.19352), figure 1: t_e = LLM(t_o, t_ins). The words of the prompt are our own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import TextGenerator

FIELD = "target_caption"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {FIELD: {"type": "string", "minLength": 3, "maxLength": 400}},
    "required": [FIELD],
    "additionalProperties": False,
}
MAX_NEW_TOKENS = 128
INTRODUCTION = (
    "You are given the caption of a photograph and a request to edit it. Write the caption of the edited photograph as "
    "JSON. Repeat the caption word by word and change only what the request asks for. Describe what is seen, and do "
    "not mention the request."
)
EXAMPLES = (
    ("a brown dog on a sofa", "turn the dog into a cat", "a brown cat on a sofa"),
    ("a street with parked cars at noon", "make it night", "a street with parked cars at night"),
    ("two cups and a plate on a table", "remove the plate", "two cups on a table"),
    ("a man in a park", "give him a red hat", "a man with a red hat in a park"),
)
ASK = "Caption: {caption}\nRequest: {instruction}\nJSON: "


def write_prompt(caption: str, instruction: str) -> str:
    """The prompt for one target caption."""
    shown = [ASK.format(caption=before, instruction=request) + json.dumps({FIELD: after})
             for before, request, after in EXAMPLES]  # fmt: skip
    asked = ASK.format(caption=" ".join(caption.split()), instruction=" ".join(instruction.split()))
    return "\n\n".join([INTRODUCTION, *shown, asked])


def write_target_captions(
    model: TextGenerator, captions: Sequence[str], instructions: Sequence[str]
) -> list[str | None]:
    """One target caption a row, None for an answer that cannot be used. The likeliest tokens are taken."""
    prompts = [write_prompt(*row) for row in zip(captions, instructions, strict=True)]
    return [_caption_in(text) for text in model.generate(prompts, max_new_tokens=MAX_NEW_TOKENS, json_schema=SCHEMA)]


def _caption_in(text: str) -> str | None:
    try:
        answer = json.loads(text)
        found = " ".join(answer[FIELD].split())
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    return found or None
