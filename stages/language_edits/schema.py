"""The answer of a language model: its JSON schema, and the edit that it holds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS = ("edit_type", "instruction", "object", "target_caption", "reverse_instruction")
CAPTION = "caption"
"""Field of the source caption, first in the answer where the model has to repeat it."""
LONGEST_FIELD = 2000
"""Characters; a longer text is a model that repeats itself."""
DETAIL_CHARS = 200
"""Characters of an answer that the detail of a reject shows."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class EditAnswer:
    """An edit as a language model writes it. `caption` is its copy of the source caption, or None."""

    edit_type: str
    instruction: str
    object: str
    target_caption: str
    reverse_instruction: str
    caption: str | None = None


def answer_schema(edit_types: Sequence[str], *, repeats_caption: bool) -> dict[str, Any]:
    """The JSON schema of an answer with one of the edit types, its fields in the order of `FIELDS`."""
    names = (CAPTION, *FIELDS) if repeats_caption else FIELDS
    properties: dict[str, Any] = {name: {"type": "string"} for name in names}
    properties["edit_type"] = {"type": "string", "enum": list(edit_types)}
    return {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}


def parse_answer(text: str) -> EditAnswer | None:
    """The edit in an answer, or None where it has none: no JSON object, a field absent, blank, or no plain text.

    Text around the object is skipped, since a model without a schema puts words or a code fence there.
    """
    found = object_in(text)
    fields = {name: plain_text(found.get(name)) for name in FIELDS}
    if not all(fields.values()):
        return None
    return EditAnswer(**{name: str(value) for name, value in fields.items()}, caption=plain_text(found.get(CAPTION)))


def object_in(text: str) -> dict[str, Any]:
    """The JSON object in an answer, from its first brace to its last; empty where there is none."""
    try:
        found = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def plain_text(value: object) -> str | None:
    """The text on one line, or None where the value is no text that can be stored."""
    if not isinstance(value, str) or len(value) > LONGEST_FIELD or _CONTROL.search(value):
        return None
    return " ".join(value.split()) or None


def excerpt(text: str) -> str:
    """The beginning of an answer for the detail of a reject. A server may send half of a surrogate pair."""
    return text[:DETAIL_CHARS].encode("utf-8", "replace").decode()
