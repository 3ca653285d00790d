"""The record of one stage on one shard: written last, atomically, and the only sign that the work is done.

A record counts only for the same stage fingerprint and the same input. `input_digest` is a hash over what the stage
read (the input shard's identity, or the output digests upstream and the artifacts used); `output_digest` is a hash
over what it left. So a changed input file or a changed upstream output makes the record stale by itself.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.storage import Storage

ALL_SHARDS = "_all"
"""Name under which a whole-dataset step is recorded; no shard may be called so."""


class FileEntry(BaseModel):
    """A file that the stage left in its folder, or keeps below it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class ModelEntry(BaseModel):
    """A model that the stage used: what pins its content, and the licence that came with it where it says one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    licence: str | None = None


class Record(BaseModel):
    """What one stage did on one shard. rows_in = rows_kept + the sum of `rejects`, always."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    fingerprint: str
    shard: str
    input_digest: str
    output_digest: str
    rows_in: int
    rows_kept: int
    """Rows that came in and went on; for an expand, parents with a child."""
    rows_out: int
    rejects: dict[str, int] = {}
    notes: dict[str, int] = {}
    """Things worth knowing that are not rows, with counts (members ignored, archive cut off …)."""
    files: dict[str, FileEntry] = {}
    models: dict[str, ModelEntry] = {}
    started_at: str = ""
    duration_s: float = 0.0
    worker: str = ""
    attempt: int = 1

    def to_json(self) -> bytes:
        """The record as stored: sorted keys, one trailing newline."""
        return (json.dumps(self.model_dump(), sort_keys=True, indent=1) + "\n").encode()


def record_path(folder: str, shard: str) -> str:
    """Where the record of `shard` lies, below the run folder."""
    return f"{folder}/{shard}.json"


def read_record(storage: Storage, folder: str, shard: str) -> Record | None:
    """The record, or None when there is none or it cannot be read as one (then the work is simply done again)."""
    try:
        return Record.model_validate_json(storage.read_bytes(record_path(folder, shard)))
    except (FileNotFoundError, ValidationError):
        return None


def digest(parts: Iterable[str]) -> str:
    """sha256 over the parts in order, as hex."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def describe_file(path: Path) -> FileEntry:
    """Size and sha256 of a local file."""
    with path.open("rb") as handle:
        sha = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileEntry(bytes=path.stat().st_size, sha256=sha)


def output_digest(files: dict[str, FileEntry]) -> str:
    """One hash over names and contents of the files a stage left."""
    return digest(f"{name} {files[name].sha256}" for name in sorted(files))
