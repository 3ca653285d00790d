"""The reading half of a dataset that `emit` wrote: which tars it has, how many samples each holds, what identifies it.

Owns the meaning of shards.json. Does not cover what lies inside a sample; trainers and evaluation read that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import Field

from pipeline.errors import DamagedFileError, UsageError
from pipeline.state import Count, State, parse
from pipeline.storage import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD_LIST = "shards.json"


class DatasetError(UsageError):
    """The folder named is no dataset, or its list of shards is not as `emit` writes it."""


class _Entry(State):
    file: str
    samples: Count
    bytes: Count
    sha256: str


class _File(State):
    dataset: str
    shards: tuple[_Entry, ...] = Field(strict=False)


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar: name in the dataset's folder, samples, bytes and sha256 as the list states them."""

    file: str
    num_samples: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardList:
    """A dataset as shards.json describes it; `fingerprint` is the sha256 of that file, which hashes every shard."""

    url: str
    name: str
    shards: tuple[Shard, ...]
    fingerprint: str

    @property
    def num_samples(self) -> int:
        """Samples of all shards together."""
        return sum(shard.num_samples for shard in self.shards)

    def open(self, shard: Shard) -> IO[bytes]:
        """The tar of `shard`, open for reading. Raises OSError when it is not there."""
        handle: IO[bytes] = _open(_joined(self.url, shard.file))
        return handle


def read_shards(url: str | Path) -> ShardList:
    """The dataset in a folder: a path or any fsspec URL. Raises DatasetError: what is wrong and what to do."""
    folder = str(Path(url).expanduser().resolve()) if "://" not in str(url) else str(url)
    place = _joined(folder, SHARD_LIST)
    try:
        with _open(place) as handle:
            content = handle.read()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{folder} holds no {SHARD_LIST}; name the dataset folder of a finished build, <run folder>/dataset"
        ) from None
    return parse_shards(content, folder)


def parse_shards(content: bytes, folder: str) -> ShardList:
    """The content of a dataset's shards.json. Raises DatasetError: which file, what is wrong and what to do."""
    place = _joined(folder, SHARD_LIST)
    try:
        listed = parse(_File, content, place)
    except DamagedFileError as error:
        raise DatasetError(str(error)) from None
    shards = tuple(_shards(listed.shards, place))
    return ShardList(folder, listed.dataset, shards, f"sha256:{hashlib.sha256(content).hexdigest()}")


def _shards(entries: tuple[_Entry, ...], place: str) -> Iterator[Shard]:
    names = set()
    for entry in entries:
        shard = Shard(entry.file, entry.samples, entry.bytes, entry.sha256)
        if "/" in shard.file or "\\" in shard.file or shard.file in ("", ".", ".."):
            raise DatasetError(f"{place} lists {shard.file!r}; expected a name in its own folder: build again")
        if shard.file in names:
            raise DatasetError(f"{place} lists {shard.file!r} twice; build the dataset again")
        names.add(shard.file)
        yield shard


def _joined(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _open(place: str) -> IO[bytes]:
    if "://" not in place:
        return Path(place).open("rb")
    fs, path = connect(place)
    handle: IO[bytes] = fs.open(path, "rb")
    return handle
