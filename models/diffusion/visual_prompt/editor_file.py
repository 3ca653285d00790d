"""The file beside a saved visual-prompt editor that says how it was trained: the size of a cell, and the unifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from core.errors import DamagedFileError, ModelError
from core.strict_json import State, parse

if TYPE_CHECKING:
    from pathlib import Path

EDITOR_FILE = "visual_prompt.json"


class TrainedAs(State):
    """How an editor was trained. `unifier` is `rules`, `none` or the id of a TextGenerator."""

    cell_px: int = Field(ge=1)
    """Side of one cell of the grid."""
    unifier: str


def write_editor_file(folder: Path, trained_as: TrainedAs) -> None:
    """Write the file into the folder of a saved pipeline."""
    (folder / EDITOR_FILE).write_text(trained_as.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_editor_file(folder: Path) -> TrainedAs:
    """The file of a saved editor. Raises ModelError where it is absent or damaged."""
    path = folder / EDITOR_FILE
    try:
        return parse(TrainedAs, path.read_bytes(), str(path))
    except (OSError, DamagedFileError) as error:
        raise ModelError(f"{path} cannot be read ({error}); save the editor again") from error
