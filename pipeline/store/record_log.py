"""The records of one stage in a run folder: a file of all records, and files that a running build adds.

A record is one line of JSON. `records.jsonl` has the records of finished builds, sorted by shard. A running build adds
`records-000001.jsonl` and so on: lines of new records, and lines that remove one. Read in this order, the last line
about a shard counts. At its end a build joins all of them into `records.jsonl`, and then removes the others, first to
last: a build that is killed in between leaves lines that say the same twice. A line that was cut off is no record.

On a local disk one file grows by a line at a time. Elsewhere lines are collected for `FLUSH_S` seconds, so a killed
build may do again what was finished in these seconds. Where many such files have come together, they become one.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.store.records import Record
    from pipeline.store.storage import Storage

RECORDS = "records.jsonl"
FLUSH_S = 5.0
MOST_ADDED = 256
"""Files that a build adds to one stage before they become one."""
_ADDED = re.compile(r"records-\d{6,}\.jsonl")
_REMOVED = "removed"
_ATTEMPTS = 5


def read_lines(storage: Storage, folder: str) -> dict[str, bytes]:
    """Shard -> the line of its record, for all records in the stage folder. The content of lines is not checked.

    Another process may join the files meanwhile: then they are listed and read again.
    """
    for attempt in range(_ATTEMPTS):
        names = _record_files(storage, folder)
        lines: dict[str, bytes] = {}
        try:
            for content in storage.contents(f"{folder}/{name}" for name in names):
                _apply(content, lines)
        except FileNotFoundError:
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return lines
    raise AssertionError  # the loop returns or raises


def _record_files(storage: Storage, folder: str) -> list[str]:
    """Names of the files with records, in the order in which they count."""
    names = storage.sizes(folder)
    added = sorted((len(name), name) for name in names if _ADDED.fullmatch(name))
    return [name for name in (RECORDS,) if name in names] + [name for _, name in added]


def _apply(content: bytes, lines: dict[str, bytes]) -> None:
    for line in content.splitlines():
        about = _parsed(line)
        if isinstance(about.get("shard"), str):
            lines[about["shard"]] = line
        elif isinstance(about.get(_REMOVED), str):
            lines.pop(about[_REMOVED], None)


def _parsed(line: bytes) -> dict[str, Any]:
    """The object of the line, or an empty one for a line that is cut off or damaged."""
    try:
        about = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


class _Added:
    """Lines that this build adds to one stage folder."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self._pending: list[bytes] = []
        self._number = 0
        self._small: list[str] = []
        """Remote files that are to become one."""
        self._handle: IO[bytes] | None = None
        self._is_synced = True

    def write(self, line: bytes) -> None:
        self._pending.append(line + b"\n")
        if self._storage.is_local:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        data = b"".join(self._pending)
        if not self._storage.is_local:
            rel = self._next_file()
            self._storage.write_bytes(rel, data)
            self._small.append(rel)
            self._pending.clear()
            if len(self._small) >= MOST_ADDED:
                self._merge()
            return
        if self._handle is None:
            rel = self._next_file()
            self._storage.write_bytes(rel, b"")
            self._handle = open(self._storage.path(rel), "ab", buffering=0)  # noqa: SIM115, PTH123  closed in `join`
        self._is_synced = False
        try:
            while data:  # a disk that gets full takes a part of it
                data = data[self._handle.write(data) :]
        except OSError:
            self._handle.close()
            self._handle = None  # later lines go to a new file, not behind one that is cut off
            raise
        self._pending.clear()

    def sync(self) -> None:
        """Write what is held so that other machines see it, and no crash of this one loses it."""
        self.flush()
        if self._handle is not None and not self._is_synced:
            os.fsync(self._handle.fileno())  # on NFS, others see lines then
            self._is_synced = True

    def _merge(self) -> None:
        """Put the lines of the last small files into one behind them, in their order."""
        small, self._small = self._small, []
        self._storage.write_bytes(self._next_file(), b"".join(self._storage.contents(small)))
        for _ in self._storage.in_parallel(self._storage.remove, small):
            pass

    def _next_file(self) -> str:
        self._number += 1
        return f"{self._folder}/records-{self._number:06d}.jsonl"

    def join(self) -> None:
        """Put all records into one file, then remove the files that were added."""
        self.flush()
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        added = [name for name in _record_files(self._storage, self._folder) if name != RECORDS]
        if added:
            lines = read_lines(self._storage, self._folder)
            joined = b"".join(lines[shard] + b"\n" for shard in sorted(lines))
            self._storage.write_bytes(f"{self._folder}/{RECORDS}", joined, survives_crash=True)
            for name in added:  # one after the other: lines of an earlier file must not outlive those of a later one
                self._storage.remove(f"{self._folder}/{name}")
        self._small = []  # numbers go on: a reader that listed a file must not find another one


class RecordWriter:
    """Writes the records of one build, which holds the lock: no other process writes records meanwhile."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._added: dict[str, _Added] = {}
        self._flushed_at = time.monotonic()

    def add(self, folder: str, record: Record) -> None:
        """Add a record to a stage folder. It counts when it is on the disk: at once, or after `flush`."""
        self._of(folder).write(record.to_json())

    def remove(self, folder: str, shards: Iterable[str]) -> None:
        """Remove records. They are gone when it returns, so that files which they list may change."""
        lines = [json.dumps({_REMOVED: shard}).encode() for shard in shards]
        for line in lines:
            self._of(folder).write(line)
        if lines:
            self._of(folder).flush()

    def flush(self, *, older_than_s: float = 0.0) -> None:
        """Write what is held for all machines to see, unless the last write was less than `older_than_s` ago."""
        now = time.monotonic()
        if now - self._flushed_at >= older_than_s:
            self._flushed_at = now
            for added in self._added.values():
                added.sync()

    def close(self, folders: Iterable[str] = ()) -> None:
        """Write what is held and join the files of each stage. `folders` may have files of a killed build, too."""
        for folder in folders:
            self._of(folder)
        for added in self._added.values():
            added.join()

    def _of(self, folder: str) -> _Added:
        if folder not in self._added:
            self._added[folder] = _Added(self._storage, folder)
            self._added[folder].join()  # what a killed build left: its numbers start at 1, too
        return self._added[folder]
