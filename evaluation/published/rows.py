"""Published rows as data: every TOML file beside this one, read into flat rows. Nothing here names a benchmark.

A file has `[[tables]]`, each with its source, its benchmark, its conditions and `[[tables.rows]]`. A row may have
`masks`, `settings` and `note` of its own. Measures, sections, settings of editors and views have the names that they
have in this project, so that they can be compared. `checkpoints.toml` names the model ids of each network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from core.settings import Settings, checked, read_toml
from evaluation.benchmark import Measure

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent
CHECKPOINTS_FILE = "checkpoints.toml"
NOT_STATED = "not stated"
"""A network, section or use of masks that the source does not state. Values of such a network or section are not
compared."""

Masks = Literal["none", "given", "not stated"]
Mark = Literal["paper", "figure", "second hand"]
"""Where the values are from: text or table of the paper, read off one of its figures, or another's notes of it."""


class Row(Settings):
    """One system in one section of a table."""

    system: str
    section: str
    values: dict[str, float]
    """Measure, without its network, -> value."""
    masks: Masks = "not stated"
    settings: dict[str, float | int | str] = Field(default_factory=dict)
    """Settings of the editor that the row was made with, over those of its table."""
    note: str = ""


class Table(Settings):
    """The rows of one table, and the conditions that all of them have. A condition that is absent is not stated."""

    source: str
    """Paper and number of the table."""
    run_by: str
    """Who ran the systems."""
    benchmark: str
    mark: Mark = "paper"
    clip: str | None = None
    dino: str | None = None
    fid: str | None = None
    views: dict[Measure, str] = Field(default_factory=dict)
    """Names of views through which networks saw the images; a network without one saw them by its own preprocessing."""
    masks: Masks = "not stated"
    """Whether the editor was given regions."""
    num_samples: dict[str, int] = Field(default_factory=dict)
    """Section -> number of samples."""
    notes: dict[str, str | int] = Field(default_factory=dict)
    """Notes of the benchmark that scores must have, such as its split and number of rows."""
    settings: dict[str, float | int | str] = Field(default_factory=dict)
    conditions_from: str = ""
    """Where the conditions are from when it is not the table itself."""
    note: str = ""
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row with all its conditions: those of its table, with the row's own over them."""

    table: Table
    row: Row

    @property
    def masks(self) -> Masks:
        """Whether the editor was given regions."""
        return self.table.masks if self.row.masks == NOT_STATED else self.row.masks

    @property
    def settings(self) -> dict[str, float | int | str]:
        """Settings of the editor that are known."""
        return {**self.table.settings, **self.row.settings}

    def network(self, measure: Measure) -> str:
        """The name of the network that a measure was taken with."""
        named: dict[Measure, str | None] = {"clip": self.table.clip, "dino": self.table.dino, "fid": self.table.fid}
        return named[measure] or NOT_STATED


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All rows, by file and then in the order of the file. Raises SettingError for a file that cannot be used."""
    return tuple(rows_in(path for path in sorted(FOLDER.glob("*.toml")) if path.name != CHECKPOINTS_FILE))


def rows_in(files: Iterable[Path]) -> list[PublishedRow]:
    """The rows of these files. Raises SettingError for a file that cannot be used."""
    tables = [
        checked(Table, table, f"{path.name}, table {number + 1}")
        for path in files
        for number, table in enumerate(read_toml(path).get("tables", []))
    ]
    return [PublishedRow(table, row) for table in tables for row in table.rows]


@cache
def checkpoints() -> dict[str, dict[str, list[str]]]:
    """Measure -> name of a network in published tables -> model ids, without commit, that hold its weights."""
    return read_toml(FOLDER / CHECKPOINTS_FILE)
