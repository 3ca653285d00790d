"""Texts of a dataset as files of other programs can hold them: valid Unicode, no control characters."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=False, allow_nan=False)


def clean_text(text: str) -> str:
    """The text without halves of surrogate pairs and control characters, line ends and tabs aside."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole if whole.isprintable() else "".join(sign for sign in whole if sign >= " " or sign in "\n\t")


def one_line(text: str) -> str:
    """The text on one line, runs of spaces made one."""
    return " ".join(clean_text(text).split())


def json_line(value: dict[str, Any] | list[Any]) -> bytes:
    """The value as one line of JSON with its line end. Raises ValueError for a number that is not finite."""
    return (_ENCODER.encode(cleaned(value)) + "\n").encode()


def cleaned(value: Any) -> Any:
    """A value of JSON with each text in it cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): cleaned(inner) for key, inner in value.items()}
    return [cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value
