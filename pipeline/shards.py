"""The reading half of a dataset that `emit` wrote: which tars it has, how many samples each holds, what identifies it.

Owns the meaning of shards.json. Does not cover what lies inside a sample; trainers and evaluation read that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.storage import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD_LIST = "shards.json"


class DatasetError(UsageError):
    """The folder named is no dataset, or its list of shards is not as `emit` writes it."""


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
    try:
        listed = json.loads(content)
        shards = tuple(_shards(listed["shards"], place))
        name = str(listed["dataset"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{place} is not a list of shards as emit writes it ({type(error).__name__}: {error}); "
            "build the dataset again"
        ) from None
    return ShardList(folder, name, shards, f"sha256:{hashlib.sha256(content).hexdigest()}")


def _shards(entries: list[dict[str, Any]], place: str) -> Iterator[Shard]:
    names = set()
    for entry in entries:
        shard = Shard(str(entry["file"]), int(entry["samples"]), int(entry["bytes"]), str(entry["sha256"]))
        if "/" in shard.file or "\\" in shard.file or shard.file in ("", ".", "..") or shard.num_samples < 0:
            raise DatasetError(
                f"{place} lists {shard.file!r} with {shard.num_samples} samples; expected a name and a count"
            )
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
