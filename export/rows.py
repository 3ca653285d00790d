"""Reads the samples of one tar, front to back and one at a time, and checks the tar while it is read.

Owns what a format is given of a sample (`Row`). A tar is hashed as it is read, so that its bytes are read once: a
difference from shards.json is found at the end at the latest, before the shard counts as exported.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from core.errors import DatasetError
from export.texts import one_line
from samples.members import JSON, MEMBERS, stored_of
from samples.shards import SHARD_LIST, SPLIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from samples.shards import ShardFile, ShardList

UNREADABLE = (EOFError, ValueError, IndexError, OverflowError, RecursionError, tarfile.TarError)
BUFFER_BYTES = 1 << 18
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
"""Names of samples that are safe as names of files on every system."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image or a mask as a dataset stores it: its bytes, and `jpg`, `png` or `webp`."""

    content: bytes
    suffix: str


@dataclass(frozen=True, slots=True)
class Row:
    """One sample. `members` are its files in the tar by suffix, `light` the columns of its JSON member."""

    sample_id: str
    members: Mapping[str, bytes]
    light: Mapping[str, Any]

    def images(self, column: str) -> tuple[Encoded, ...]:
        """The images or masks of a column in order, empty where the sample has none."""
        return tuple(Encoded(content, suffix) for suffix, content in stored_of(column, self.members))

    def image(self, column: str) -> Encoded:
        """The first image or mask of a column, which the sample has."""
        return self.images(column)[0]

    def text(self, column: str) -> str:
        """The text of a column on one line, empty where the sample has none."""
        value = self.light.get(column)
        return one_line(value) if isinstance(value, str) else ""

    def has(self, column: str) -> bool:
        """True where the sample has a value in the column. An empty text is none."""
        if column in MEMBERS:
            return bool(stored_of(column, self.members))
        value = self.light.get(column)
        return bool(self.text(column)) if isinstance(value, str) else value is not None


def read_rows(dataset: ShardList, shard: ShardFile) -> Iterator[Row]:
    """The samples of a shard, of its split where it has one. Raises DatasetError, which names the shard.

    The error comes for a tar that is not the one listed, for one that cannot be read, and for a sample without JSON.
    """
    name = f"shard {shard.file} of {dataset.url}"
    num_rows = 0
    try:
        with replace(dataset, is_hashed=False).open(shard) as handle:
            hashed = _Hashed(handle)
            for key, members in _samples(hashed, name):
                row = Row(key, members, _light(key, members, name))
                if shard.split is None or (row.light.get(SPLIT) or "") == shard.split:
                    num_rows += 1
                    yield row
            found = hashed.digest_of_all()
    except UNREADABLE as error:
        raise DatasetError(f"{name} cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from None
    if found != shard.sha256:
        raise DatasetError(
            f"{name} has the sha256 {found[:12]}…, {SHARD_LIST} says {shard.sha256[:12]}…: it is not the file that was "
            "built; put that one back, or build the dataset again"
        )
    if num_rows != shard.num_samples:
        raise DatasetError(f"{name} holds {num_rows} samples, {SHARD_LIST} says {shard.num_samples}; build it again")


class _Hashed:
    """A file that is read once, front to back, and hashed on the way."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle, self._sha256 = handle, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        content = self._handle.read(size)
        self._sha256.update(content)
        return content

    def digest_of_all(self) -> str:
        """The sha256 of the file, after what is left of it was read."""
        while self.read(1 << 20):
            pass
        return self._sha256.hexdigest()


def _samples(file: _Hashed, name: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(name, members by suffix) of each sample, whose members lie side by side."""
    seen: set[str] = set()
    key, members = "", dict[str, bytes]()
    with tarfile.open(fileobj=file, mode="r|", bufsize=BUFFER_BYTES) as tar:  # type: ignore[call-overload]
        for info in tar:
            tar.members.clear()  # or the list grows with every member
            own, _, suffix = info.name.partition(".")
            if not info.isreg() or info.issparse() or not _KEY.fullmatch(own):  # a sparse file may claim any size
                raise DatasetError(f"{name} has the member {info.name[:80]!r}; expected a file <sample_id>.<suffix>")
            if own != key:
                if key:
                    yield key, members
                if own in seen:
                    raise DatasetError(f"{name} has the sample {own} twice, or its members are not side by side")
                seen.add(own)
                key, members = own, {}
            members[suffix] = tar.extractfile(info).read()
    if key:
        yield key, members


def _light(key: str, members: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The content of the sample's JSON member."""
    if JSON not in members:
        raise DatasetError(f"{name}: sample {key} has no member {JSON}; build the dataset again")
    found = json.loads(members[JSON])
    if not isinstance(found, dict):
        raise DatasetError(f"{name}: member {JSON} of sample {key} is no object; build the dataset again")
    return found
