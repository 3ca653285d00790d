"""The state of an export, all of it in files below the output folder: what is exported, records of shards, the end.

A shard is done when its record is there, which is written last, under a temporary name that is then changed. Records
name the shard's hash and the export's key, a hash over dataset, split, format and settings.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.errors import DamagedFileError, LockedError, UsageError
from core.strict_json import Count, State, parse
from export.shard_folder import PIECES, STATE, piece_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from samples.shards import ShardFile

TARGET = f"{STATE}/export.json"
FINISHED = f"{STATE}/finished.json"
RECORDS = f"{STATE}/shards"
LOCK, WORKERS_LOCK = f"{STATE}/lock", f"{STATE}/workers"


class Record(State):
    """A shard that was exported.

    `folders` has the number of files in each folder, `files` the bytes of single files, `pieces` the names of the
    joined files that have lines of the shard.
    """

    shard: str
    sha256: str
    key: str
    rows: Count
    left_out: dict[str, Count] = Field(default_factory=dict)
    folders: dict[str, Count] = Field(default_factory=dict)
    files: dict[str, Count] = Field(default_factory=dict)
    pieces: tuple[str, ...] = Field(default=(), strict=False)
    notes: dict[str, Count] = Field(default_factory=dict)


class Finished(State):
    """Files that were written after all shards, with their bytes."""

    key: str
    files: dict[str, Count]


def key_of(target: dict[str, Any]) -> str:
    """A hash over what decides the bytes of an export."""
    return hashlib.sha256(json.dumps(target, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name next to it, and change the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def stem_of(shard: ShardFile) -> str:
    """The name of a shard's files in an export: the tar's, without what some system does not take in names."""
    stem = shard.file.removesuffix(".tar")
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in stem)
    is_whole = bool(stem) and shard.file == f"{safe}.tar"
    return safe if is_whole else f"{safe[:80]}_{hashlib.sha256(shard.file.encode()).hexdigest()[:8]}"


def check_is_export(out: Path) -> bool:
    """True for a folder that holds an export, finished or not, False for a new or empty one.

    Raises UsageError for a folder with other files.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder with --out")
    if not out.exists() or not any(one for one in out.iterdir() if one.name != STATE):
        return (out / TARGET).exists()
    if not (out / TARGET).exists():
        raise UsageError(f"{out} holds files that are no export; name a new folder with --out")
    return True


def check_folder(out: Path, target: dict[str, Any]) -> None:
    """Raise UsageError for a folder with other files, or with an export of another dataset, format or settings."""
    if not check_is_export(out):
        return
    try:
        found = json.loads((out / TARGET).read_bytes())
    except ValueError:
        found = None
    if found == target:
        return
    differing = sorted(name for name in target if not isinstance(found, dict) or found.get(name) != target[name])
    raise UsageError(
        f"{out} holds an export with another {', '.join(differing)}; name another folder, or replace it by --overwrite"
    )


def clear(out: Path) -> None:
    """Remove all files of an export. What says that it is one is removed last, so that this can be interrupted."""
    for path in [out / FINISHED, out / RECORDS, *(one for one in out.iterdir() if one.name != STATE), out / PIECES]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ExportState:
    """The state files of one export."""

    out: Path
    key: str

    def record(self, shard: ShardFile) -> Record | None:
        """The record of a shard, None where it has to be exported: no record, or files that are not there."""
        path = self.out / RECORDS / f"{stem_of(shard)}.json"
        try:
            found = parse(Record, path.read_bytes(), str(path))
        except (FileNotFoundError, DamagedFileError):
            return None
        is_same = (found.sha256, found.key) == (shard.sha256, self.key)
        is_there = all(_has_files(self.out / one, number) for one, number in found.folders.items())
        is_there = is_there and all(_size(self.out / one) == size for one, size in found.files.items())
        return found if is_same and is_there else None

    def has_pieces(self, record: Record) -> bool:
        """True where the shard's pieces of joined files are all there."""
        return all(piece_path(self.out, record.shard, name).exists() for name in record.pieces)

    def write(self, record: Record) -> None:
        """Write a record: from now on the shard is done."""
        write_atomically(self.out / RECORDS / f"{record.shard}.json", record.model_dump_json().encode())

    def finished(self) -> bool:
        """True where the export was finished and the files of its end are as they were."""
        try:
            found = parse(Finished, (self.out / FINISHED).read_bytes(), FINISHED)
        except (FileNotFoundError, DamagedFileError):
            return False
        return found.key == self.key and all(_size(self.out / name) == size for name, size in found.files.items())

    def finish(self, files: dict[str, int]) -> None:
        """Note that the export is finished."""
        write_atomically(self.out / FINISHED, Finished(key=self.key, files=files).model_dump_json().encode())

    def unfinish(self) -> None:
        """Forget that the export was finished."""
        (self.out / FINISHED).unlink(missing_ok=True)


@contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Hold the output folder while an export runs. The system frees it when the process ends, however it ends.

    Raises LockedError where another export runs. Waits for workers that a killed export left behind: they end by
    themselves at once.
    """
    (out / STATE).mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("wb") as own, (out / WORKERS_LOCK).open("wb") as workers:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another export writes to {out}; wait for its end, or name another folder") from None
        fcntl.flock(workers, fcntl.LOCK_EX)
        fcntl.flock(workers, fcntl.LOCK_UN)
        yield


def hold_as_worker(out: Path) -> None:
    """Mark the folder as written to by this process, until the process ends."""
    descriptor = os.open(out / WORKERS_LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def _has_files(folder: Path, number: int) -> bool:
    """True where a folder has at least so many files. A trainer may have put a cache beside them."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for _ in entries) >= number
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
