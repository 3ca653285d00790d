"""Read the list of shards of a finished dataset: its tars, their samples and hashes, and its splits.

Owns the meaning of shards.json, and the check that a tar is the one listed. A dataset has splits where its samples have
a column `split`; the list then counts each shard's samples by it. Does not cover the members of a sample:
`samples.members` names them.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import Field

from core.errors import DamagedFileError, DatasetError
from core.locations import connect
from core.strict_json import Count, State, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD_LIST = "shards.json"
SPLIT = "split"
"""Column that says which split a sample is of."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Entry(State):
    file: str
    samples: Count
    bytes: Count
    sha256: str
    splits: dict[str, Count] = Field(default_factory=dict)


class _File(State):
    dataset: str
    shards: tuple[_Entry, ...] = Field(strict=False)


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One tar: name in the dataset's folder, samples, bytes and sha256 as the list states them.

    `splits` has (name, samples) of each split. With a `split`, only its samples are read, and `num_samples` is theirs.
    """

    file: str
    num_samples: int
    num_bytes: int
    sha256: str
    splits: tuple[tuple[str, int], ...] = ()
    split: str | None = None


@dataclass(frozen=True, slots=True)
class ShardList:
    """A dataset as shards.json describes it. `fingerprint` is the sha256 of that file, which hashes every shard."""

    url: str
    name: str
    shards: tuple[ShardFile, ...]
    fingerprint: str
    is_hashed: bool = True
    """Whether a tar is hashed before a process reads it for the first time."""

    @property
    def num_samples(self) -> int:
        """Samples of all shards together."""
        return sum(shard.num_samples for shard in self.shards)

    def of_split(self, split: str) -> ShardList:
        """The dataset's samples of one split; all of them where it has no splits. Raises DatasetError for no sample."""
        named = {name for shard in self.shards for name, number in shard.splits if number}
        if not named:
            return self
        shards = tuple(
            replace(shard, split=split, num_samples=dict(shard.splits).get(split, 0)) for shard in self.shards
        )
        if not any(shard.num_samples for shard in shards):
            raise DatasetError(
                f"dataset {self.name!r} ({self.url}) has no samples of the split {split!r}; there are: "
                f"{', '.join(sorted(named))}"
            )
        return replace(self, shards=shards)

    def check_sizes(self) -> None:
        """Compare the size of every tar with the list. No tar is opened. Raises DatasetError for a difference."""
        found = _sizes(self.url)
        for shard in self.shards:
            try:
                size = found[shard.file] if shard.file in found else _stamp(_joined(self.url, shard.file))[0]
            except FileNotFoundError:
                raise _altered(self.url, shard, "is not there") from None
            self._check_size(shard, size)

    def open(self, shard: ShardFile) -> IO[bytes]:
        """The tar of `shard`, open for reading, as the list describes it: its bytes, and its hash with `is_hashed`.

        A process hashes a tar once, and again where its size or time changed. Raises OSError when it is not there,
        DatasetError when it is another file than the one listed.
        """
        place = _joined(self.url, shard.file)
        stamp = _stamp(place)
        self._check_size(shard, stamp[0])
        if self.is_hashed and (found := _sha256_of(place, stamp)) != shard.sha256:
            raise _altered(self.url, shard, f"has the sha256 {found[:12]}…, {SHARD_LIST} says {shard.sha256[:12]}…")
        return _open(place)

    def _check_size(self, shard: ShardFile, size: int | None) -> None:
        if size is not None and size != shard.num_bytes:
            raise _altered(self.url, shard, f"has {size} bytes, {SHARD_LIST} says {shard.num_bytes}")


def read_shards(url: str | Path, *, is_hashed: bool = True) -> ShardList:
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
    return parse_shards(content, folder, is_hashed=is_hashed)


def parse_shards(content: bytes, folder: str, *, is_hashed: bool = True) -> ShardList:
    """The content of a dataset's shards.json. Raises DatasetError: which file, what is wrong and what to do."""
    place = _joined(folder, SHARD_LIST)
    try:
        listed = parse(_File, content, place)
    except DamagedFileError as error:
        raise DatasetError(str(error)) from None
    shards = tuple(_shards(listed.shards, place))
    return ShardList(folder, listed.dataset, shards, f"sha256:{hashlib.sha256(content).hexdigest()}", is_hashed)


def _shards(entries: tuple[_Entry, ...], place: str) -> Iterator[ShardFile]:
    names = set()
    has_splits = any(entry.splits for entry in entries)
    for entry in entries:
        shard = ShardFile(
            entry.file, entry.samples, entry.bytes, entry.sha256, splits=tuple(sorted(entry.splits.items()))
        )
        if has_splits and sum(entry.splits.values()) != shard.num_samples:
            raise DatasetError(
                f"{place} lists {shard.file!r} with {shard.num_samples} samples, of which "
                f"{sum(entry.splits.values())} are in splits; build the dataset again"
            )
        if any(sign in shard.file for sign in "/\\\0") or shard.file in ("", ".", ".."):
            raise DatasetError(f"{place} lists {shard.file!r}; expected a name in its own folder: build again")
        if not _SHA256.fullmatch(shard.sha256):
            raise DatasetError(
                f"{place} lists {shard.file!r} with the sha256 {shard.sha256[:80]!r}; expected 64 hexadecimal digits: "
                "build the dataset again"
            )
        if shard.file in names:
            raise DatasetError(f"{place} lists {shard.file!r} twice; build the dataset again")
        names.add(shard.file)
        yield shard


def _altered(url: str, shard: ShardFile, what: str) -> DatasetError:
    return DatasetError(
        f"shard {_joined(url, shard.file)} {what}: it is not the file that was built; put that one back, or build the "
        "dataset again"
    )


def _sizes(folder: str) -> dict[str, int | None]:
    """Bytes of the files in a remote folder, by one listing. Empty for a local folder, and without a listing."""
    found: dict[str, int | None] = {}
    if "://" in folder:
        fs, path = connect(folder)
        with suppress(OSError, NotImplementedError, ValueError):  # many web servers list nothing
            fs.invalidate_cache()
            found = {entry["name"].rpartition("/")[2]: entry.get("size") for entry in fs.ls(path, detail=True)}
    return found


def _stamp(place: str) -> tuple[int | None, str]:
    """(bytes, time of writing) of a file, or None where a server gives none. Raises OSError for no file."""
    if "://" not in place:
        stat = Path(place).stat()
        return stat.st_size, str(stat.st_mtime_ns)
    fs, path = connect(place)
    info = fs.info(path)
    return info.get("size"), str([info.get(key) for key in ("mtime", "LastModified", "updated", "created", "ETag")])


@lru_cache(maxsize=1 << 16)
def _sha256_of(place: str, _stamp_then: tuple[int | None, str]) -> str:
    """sha256 of the file as it is at that size and time."""
    with _open(place) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()  # type: ignore[arg-type]


def _joined(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _open(place: str) -> IO[bytes]:
    if "://" not in place:
        return Path(place).open("rb")
    fs, path = connect(place)
    handle: IO[bytes] = fs.open(path, "rb")
    return handle
