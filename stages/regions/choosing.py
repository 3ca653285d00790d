"""Which things of the source image an edit changes: the question to a language model, its answer, and a rule.

Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), table 10: the fields of the question and its rules. Its wording
        is the project's own, and answers are JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.language_edits.schema import object_in

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Sequence

    from models.protocols import TextGenerator

FIELD = "objects"
WHOLE_IMAGE = "NONE"
"""The answer for an edit that has no place of its own."""
LONGEST_NAME = 60
"""Most characters of a thing's name."""
ANSWERS = "object answers"
"""Note of the number of answers of the model."""
MALFORMED = "object answers: malformed"
"""Note of those that could not be used."""
BY_RULE = "objects by rule"
"""Note of the rows for which no answer of the model could be used."""
SEED_BITS = 32

PROMPT = """\
An image is going to be edited. Name the things on it that the edit changes, so that they can be found and masked.

Rules:
- Name only things that are on the image before the edit and look different after it.
- Take words from the list of things where they fit. You may name a thing that is not in the list.
- Name at most {max_objects}, the most likely ones first, each in a few words such as "red car".
- Where the edit changes the style or the whole image, or where it adds or moves a thing, answer {whole}.

Instruction: {instruction}
Caption before the edit: {source_caption}
Caption after the edit: {target_caption}
Things found on the image: {tags}

Answer with JSON, {{"{field}": ["…"]}} or {{"{field}": ["{whole}"]}}, and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What is known of one edit. `source_phrase` and `edit_type` are empty where nobody wrote them."""

    instruction: str
    source_caption: str
    target_caption: str
    tags: Sequence[str]
    source_phrase: str
    edit_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """How the model is asked: with the likeliest tokens first, sampled where it is asked again."""

    max_objects: int
    max_retries: int
    max_new_tokens: int
    retry_temperature: float


def ask_for_objects(
    model: TextGenerator, edits: Sequence[Edit], rngs: Sequence[random.Random], asking: Asking, notes: Counter[str]
) -> list[list[str] | None]:
    """The things of each edit, or None where no answer could be used. One call of the model a round."""
    found: list[list[str] | None] = [None] * len(edits)
    prompts = [prompt_for(edit, asking.max_objects) for edit in edits]
    left = list(range(len(edits)))
    for turn in range(asking.max_retries + 1):
        if not left:
            break
        texts = model.generate(
            [prompts[row] for row in left],
            max_new_tokens=asking.max_new_tokens,
            json_schema=answer_schema(asking.max_objects),
            temperature=asking.retry_temperature if turn else 0.0,
            seeds=[rngs[row].getrandbits(SEED_BITS) for row in left] if turn else None,
        )
        for row, text in zip(left, texts, strict=True):
            found[row] = parse_answer(text, asking.max_objects)
        notes[ANSWERS] += len(left)
        left = [row for row in left if found[row] is None]
        notes[MALFORMED] += len(left)
    notes[BY_RULE] += len(left)
    return found


def objects_by_rule(edit: Edit, whole_image_types: Sequence[str]) -> list[str]:
    """The source phrase, or nothing for a type of edit of the whole image and for an edit that names no such phrase."""
    phrase = edit.source_phrase.strip()
    return [phrase] if phrase and edit.edit_type not in whole_image_types else []


def prompt_for(edit: Edit, max_objects: int) -> str:
    """The question for one edit."""
    return PROMPT.format(
        instruction=edit.instruction,
        source_caption=edit.source_caption,
        target_caption=edit.target_caption,
        tags=", ".join(edit.tags) or "none",
        max_objects=max_objects,
        whole=WHOLE_IMAGE,
        field=FIELD,
    )


def answer_schema(max_objects: int) -> dict[str, Any]:
    """The JSON schema of an answer."""
    names = {"type": "array", "items": {"type": "string"}, "maxItems": max_objects}
    return {"type": "object", "properties": {FIELD: names}, "required": [FIELD], "additionalProperties": False}


def parse_answer(text: str, max_objects: int) -> list[str] | None:
    """The things that an answer names, none for the whole image, or None for a malformed answer.

    Text around the JSON object is skipped. A name with half of a surrogate pair or a control character is malformed.
    """
    names = object_in(text).get(FIELD)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(" ".join(name.split()).casefold(), " ".join(name.split()))
    if list(plain) == [WHOLE_IMAGE.casefold()] or not plain:
        return []
    is_usable = all(0 < len(name) <= LONGEST_NAME and name.isprintable() for name in plain.values())
    is_usable &= WHOLE_IMAGE.casefold() not in plain
    return list(plain.values()) if is_usable and len(plain) <= max_objects else None
