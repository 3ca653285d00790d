"""Sets of example edits: what a language model is shown before it writes edits of its own.

A set is a file of JSON lines, one edit a line with the fields of `ExampleEdit`. `examples:NAME` is a set of this
project (`models/language/edit_examples/NAME.jsonl`), `path:FILE.jsonl` one of the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, ValidationError

from core.errors import ModelError
from core.strict_json import State

if TYPE_CHECKING:
    from models.placement import Placement
    from models.schemes.weights import Weights

BUNDLED = Path(__file__).parent / "edit_examples"
"""Folder of the sets of this project."""


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


Text = Annotated[str, Field(min_length=1, pattern=r"\S"), AfterValidator(_on_one_line)]
"""Text on one line: a prompt has a meaning for each of its lines."""


class ExampleEdit(State):
    """One edit: the fields that a language model is asked for, the caption that it edits, and an id."""

    id: Text
    caption: Text
    edit_type: Text
    instruction: Text
    object: Text
    target_caption: Text
    reverse_instruction: Text


@dataclass(frozen=True)
class EditExamples:
    """The edits of a set, in the order of the file."""

    edits: tuple[ExampleEdit, ...]

    @cached_property
    def edit_types(self) -> tuple[str, ...]:
        """The types of edit in the set, each once, in the order in which they first come."""
        return tuple(dict.fromkeys(edit.edit_type for edit in self.edits))


def load_examples(weights: Weights, placement: Placement) -> EditExamples:  # noqa: ARG001  data has no device
    """The set that a model id names. Raises ModelError (`read_examples`)."""
    return read_examples(Path(weights.location))


def read_examples(path: Path) -> EditExamples:
    """The edits of a file. Raises ModelError with file and line for a damaged one, an id used twice, an empty file."""
    edits: dict[str, ExampleEdit] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        edit = _parse(line, f"{path}:{number}")
        if edit.id in edits:
            raise ModelError(f"{path}:{number}: id {edit.id!r} is used twice; give each example an id of its own")
        edits[edit.id] = edit
    if not edits:
        raise ModelError(f"{path}: no examples; expected one JSON object a line")
    return EditExamples(tuple(edits.values()))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")  # not splitlines: U+2028 may stand inside a string
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as examples: {error}") from error


def _parse(line: str, place: str) -> ExampleEdit:
    try:
        return ExampleEdit.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = "".join(f"{part}: " for part in first["loc"])
        fields = ", ".join(ExampleEdit.model_fields)
        raise ModelError(
            f"{place}: {field}{first['msg'].lower()}; expected an object with the texts {fields}"
        ) from None
