"""Ask a language model for reverse instructions, and again for those that fail a check."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.language_edits.schema import object_in, plain_text
from stages.reverse_edits.checks import ForwardEdit, NoReverse, fault_of

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Sequence

    from models.language.example_sets import ExampleEdit
    from models.protocols import TextGenerator

FIELD = "reverse_instruction"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {FIELD: {"type": "string"}},
    "required": [FIELD],
    "additionalProperties": False,
}
SEED_BITS = 32
INTRODUCTION = (
    "Each edit below has the caption of an image, a request to edit it, and the caption of the edited image. Write the "
    "request that turns the edited image back into the first one, as a JSON object. It is short and in plain English. "
    "It names only what the captions say: where the first caption gives no colour, place or material, it gives none."
)
ASK = "Caption: {source}\nRequest: {instruction}\nCaption of the edited image: {target}\nReverse request as JSON: "


@dataclass(frozen=True, kw_only=True, slots=True)
class ReverseAsking:
    """How reverse instructions are asked for; prompts show `num_examples` of the examples."""

    max_new_tokens: int
    max_words: int
    temperature: float
    max_retries: int
    examples: tuple[ExampleEdit, ...]
    num_examples: int


@dataclass(kw_only=True)
class WantedReverse:
    """A reverse instruction to be written, and what came of it."""

    edit: ForwardEdit
    rng: random.Random
    prompt: str = ""
    reverse: str | None = None
    fault: NoReverse | None = None
    last_text: str = ""


def reverse_prompt(edit: ForwardEdit, examples: Sequence[ExampleEdit]) -> str:
    """The prompt for the reverse of one edit, the examples' own before it."""
    shown = [
        ASK.format(source=one.caption, instruction=one.instruction, target=one.target_caption)
        + json.dumps({FIELD: one.reverse_instruction}, ensure_ascii=False)
        for one in examples
    ]
    return "\n\n".join(
        [INTRODUCTION, *shown, ASK.format(source=edit.source, instruction=edit.instruction, target=edit.target)]
    )


def ask_for_reverses(
    model: TextGenerator, wanted: Sequence[WantedReverse], asking: ReverseAsking, notes: Counter[str]
) -> None:
    """Fill in the reverse instruction of each that gets one, one call of the model a round."""
    for one in wanted:
        shown = one.rng.sample(asking.examples, min(len(asking.examples), asking.num_examples))
        one.prompt = reverse_prompt(one.edit, shown)
    left = list(wanted)
    for _ in range(1 + asking.max_retries):
        if not left:
            return
        texts = model.generate(
            [one.prompt for one in left],
            max_new_tokens=asking.max_new_tokens,
            json_schema=SCHEMA,
            temperature=asking.temperature,
            seeds=[one.rng.getrandbits(SEED_BITS) for one in left],
        )
        for one, text in zip(left, texts, strict=True):
            answer = plain_text(object_in(text).get(FIELD))
            one.last_text = text
            one.fault = NoReverse.UNPARSABLE if answer is None else fault_of(one.edit, answer, asking.max_words)
            one.reverse = answer if one.fault is None else None
            notes["reverse answers"] += 1
            if one.fault is not None:
                notes[f"reverse answers: {one.fault.value}"] += 1
        left = [one for one in left if one.reverse is None]
