"""Reads text and JSON files of benchmarks. Each fault is a line that names file and entry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError

if TYPE_CHECKING:
    from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises EvaluationError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror}); expected it there") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it again") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises EvaluationError when there is none."""
    found = _parsed(read_text(path), str(path))
    if not isinstance(found, dict):
        raise EvaluationError(f"{path} holds a {type(found).__name__}; expected a JSON object")
    return found


def read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(where, object) for each line of a JSON lines file that is not blank. Raises EvaluationError for other lines."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):  # splitlines would split at U+2028 too
        if not line.strip():
            continue
        where = f"{path} line {number}"
        row = _parsed(line, where)
        if not isinstance(row, dict):
            raise EvaluationError(f"{where} holds a {type(row).__name__}; expected a JSON object")
        rows.append((where, row))
    return rows


def text_in(row: dict[str, Any], name: str, where: str, *, default: str | None = None) -> str:
    """The text of a field, or `default` where it is absent or null. Raises EvaluationError for anything else."""
    value = row.get(name)
    if value is None:
        value = default
    if not isinstance(value, str):
        got = "is absent" if value is None else f"is {value!r}"
        raise EvaluationError(f"{where}: field {name!r} {got}; expected text")
    check_encodable(value, f"{where}: field {name!r}")
    return value.strip()


def check_encodable(text: str, what: str) -> None:
    """Raise EvaluationError for a text that no UTF-8 file can hold; `what` names it. JSON can hold such a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EvaluationError(f"{what} has half of a surrogate pair ({text[:80]!r}); expected text of UTF-8") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise EvaluationError(f"{where} is no JSON ({error})") from error
    except RecursionError as error:
        raise EvaluationError(f"{where} is nested too deep to be read") from error
