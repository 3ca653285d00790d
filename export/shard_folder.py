"""Where a format writes the files of one shard: files of their own, and lines of files that are joined at the end.

A process that is killed leaves files without the shard's record. The shard is then written again, the same bytes to the
same names, so files need no temporary names here.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from export.texts import json_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

STATE = ".export"
"""Folder below the output folder with all that a resumed export reads."""
PIECES = f"{STATE}/pieces"
ROWS_PER_FOLDER = 2000
"""Most rows whose files are in one folder, where the format lets `folder` name it."""


def piece_path(out: Path, shard: str, name: str) -> Path:
    """Where the lines of a shard lie until they are joined to the file `name`."""
    return out / PIECES / shard / name


@dataclass(slots=True)
class ShardFolder:
    """The output folder as the writer of one shard uses it. `name` is the shard's, safe as a name of files."""

    out: Path
    name: str
    columns: tuple[str, ...] = ()
    """Light columns of the dataset that its JSON members hold."""
    num_rows: int = 0
    """Rows that were written so far."""
    folders: Counter[str] = field(default_factory=Counter)
    """Folder below the output folder, of this shard alone -> files put there."""
    files: set[str] = field(default_factory=set)
    """Files that are not in such a folder."""
    pieces: set[str] = field(default_factory=set)
    """Names of the joined files that have lines of this shard."""
    notes: Counter[str] = field(default_factory=Counter)
    """Counts for the card, in words."""

    @property
    def folder(self) -> str:
        """A name for the sub-folder of the next row's files: that of the shard, and a number where it has many rows."""
        number = self.num_rows // ROWS_PER_FOLDER
        return f"{self.name}-{number}" if number else self.name

    def path(self, relative: str) -> Path:
        """The path of a file that the format writes itself, noted as one of this shard's. Its folder is made."""
        path = self.out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files.add(relative)
        return path

    def put(self, relative: str, content: bytes) -> str:
        """Write a file into a folder of this shard's, below the output folder. Returns its relative path."""
        above = relative.rpartition("/")[0]
        if above not in self.folders:
            (self.out / above).mkdir(parents=True, exist_ok=True)
        self.folders[above] += 1
        (self.out / relative).write_bytes(content)
        return relative

    def put_folder(self, relative: str, files: Mapping[str, bytes]) -> None:
        """Write a folder with these files, counted as one entry of the folder above it."""
        (self.out / relative).mkdir(parents=True, exist_ok=True)
        self.folders[relative.rpartition("/")[0]] += 1
        for name, content in files.items():
            (self.out / relative / name).write_bytes(content)

    @contextmanager
    def lines(self, name: str) -> Iterator[JsonLines]:
        """Open this shard's piece of the file `name`, which `Exported.join` makes of the pieces of all shards."""
        path = piece_path(self.out, self.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.pieces.add(name)
        with path.open("wb") as file:
            yield JsonLines(file)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file of JSON, one object a line."""

    file: IO[bytes]

    def add(self, value: dict[str, Any] | list[Any]) -> None:
        """Add a line. Texts are cleaned of what is no valid Unicode."""
        self.file.write(json_line(value))
