"""The JSON object in the answer of a language model, which may have put words or a code fence around it."""

from __future__ import annotations

import json
from typing import Any


def answer_object(text: str) -> dict[str, Any] | None:
    """The object from the first `{` to the last `}`, or None where that is no JSON object.

    Its texts are as found: control characters and halves of surrogate pairs are the caller's to refuse.
    """
    try:
        found = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
