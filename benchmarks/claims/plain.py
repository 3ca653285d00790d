"""Rows that no cell trains, scored once and kept: plain.json says what they were made with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models import registry
from zoo.evaluation.edits import EditScores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.claims.results import Numbers

FILE = "plain.json"
COMMON_START = "the common start"
"""Name of the row of the model that every training starts from."""


def editors_with_start(numbers: Numbers, editors: Mapping[str, str]) -> dict[str, str]:
    """Name -> model id: the common start where it is an editor, and `editors`."""
    is_editor = "instruction" in registry.editor_class(numbers.start).needs
    return {**({COMMON_START: numbers.start} if is_editor else {}), **editors}


def kept_rows(
    out: Path, numbers: Numbers, editors: Mapping[str, str], make: Callable[[], dict[str, EditScores]]
) -> dict[str, EditScores]:
    """The rows that `make` scores, or those kept where the same numbers and weights made them."""
    wanted: dict[str, Any] = {
        "start": numbers.start, "editors": dict(editors),
        "revisions": {model: registry.revision(model) for model in editors.values()},
        "numbers": json.loads(json.dumps(numbers.as_json())),
    }  # fmt: skip
    kept = out / FILE
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["made_with"] == wanted:
            return {name: EditScores.of_json(scores) for name, scores in known["rows"].items()}
    rows = make()
    found = {"made_with": wanted, "rows": {name: scores.as_json() for name, scores in rows.items()}}
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return rows
