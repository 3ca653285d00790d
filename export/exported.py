"""All shards of an export together, as a format sees them at the end: counts, folders, joined and last files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from export.shard_folder import piece_path
from export.state import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from export.state import Record
    from samples.shards import ShardList


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The output folder after all shards were written. `records` are in the order of the dataset's shards."""

    out: Path
    dataset: ShardList
    split: str
    records: Sequence[Record]
    files: dict[str, int] = field(default_factory=dict)
    """Files that were written here, with their bytes."""

    @property
    def num_rows(self) -> int:
        """Rows of all shards together."""
        return sum(record.rows for record in self.records)

    @cached_property
    def left_out(self) -> Counter[str]:
        """Reason -> rows that are not in the export."""
        return sum((Counter(record.left_out) for record in self.records), Counter[str]())

    @cached_property
    def notes(self) -> Counter[str]:
        """Counts that the format made, by their words."""
        return sum((Counter(record.notes) for record in self.records), Counter[str]())

    def folders(self) -> list[str]:
        """Folders below the output folder that hold files of rows, in the order of the shards, each once.

        Two shards may share one: that of the rows from 2,000 on of `a`, and that of the first rows of `a-1`.
        """
        return list(dict.fromkeys(folder for record in self.records for folder in sorted(record.folders)))

    def join(self, name: str, *, as_array: bool = False) -> None:
        """Make the file `name` of the pieces of all shards, in their order: lines of JSON, or one array of them."""
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        with temporary.open("wb") as whole:
            for number, line in enumerate(self._lines(name)):
                if as_array:
                    whole.write(b",\n" if number else b"[\n")
                    line = line.rstrip(b"\n")  # noqa: PLW2901  the comma is between lines
                whole.write(line)
            if as_array:
                whole.write(b"\n]\n" if whole.tell() else b"[]\n")
            self.files[name] = whole.tell()
        temporary.replace(path)

    def _lines(self, name: str) -> Iterator[bytes]:
        for record in self.records:
            if name in record.pieces:
                with piece_path(self.out, record.shard, name).open("rb") as piece:
                    yield from piece

    def write(self, name: str, text: str) -> None:
        """Write a file below the output folder."""
        content = text.encode()
        write_atomically(self.out / name, content)
        self.files[name] = len(content)
