"""The record of one stage on one shard: written last, atomically, and the only sign that the work is done.

A record counts only for the same stage fingerprint and the same input. `input_digest` is a hash over what the stage
read (the input shard's identity, or the output digests upstream and the artifacts used); `output_digest` is a hash
over what it left. So a changed input file or a changed upstream output makes the record stale by itself.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field

from core.strict_json import Count, State
from pipeline.store.storage import FileEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.store.storage import Storage

ALL_SHARDS = "_all"
"""Name under which a whole-dataset step is recorded; no shard may be called so."""


KEPT_FILES = "store/"
"""Beginning of the names of files in the source's store, of which `output_digest` knows nothing."""
PUBLISHED_FILES = "../../dataset/"
"""Beginning of the names of files that a sink's last step published."""


class ModelEntry(State):
    """A model that the stage used: what pins its content, and the licence that came with it where it says one."""

    model_config = ConfigDict(extra="forbid")

    revision: str
    licence: str | None = None


class Record(State):
    """What one stage did on one shard. rows_in = rows_kept + the sum of `rejects`, always."""

    model_config = ConfigDict(extra="forbid")

    stage: str
    fingerprint: str
    shard: str
    input_digest: str
    output_digest: str
    rows_in: Count
    rows_kept: Count
    """Rows that came in and went on; for an expand, parents with a child."""
    rows_out: Count
    rejects: dict[str, Count] = Field(default_factory=dict)
    notes: dict[str, Count] = Field(default_factory=dict)
    """Things worth knowing that are not rows, with counts (members ignored, archive cut off …)."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    models: dict[str, ModelEntry] = Field(default_factory=dict)
    started_at: str = ""
    duration_s: float = 0.0
    worker: str = ""
    attempt: Count = 1

    def to_json(self) -> bytes:
        """The record as stored: sorted keys, one trailing newline."""
        return (json.dumps(self.model_dump(), sort_keys=True, indent=1) + "\n").encode()


def record_path(folder: str, shard: str) -> str:
    """Where the record of `shard` lies, below the run folder."""
    return f"{folder}/{shard}.json"


def read_record(storage: Storage, folder: str, shard: str) -> Record | None:
    """The record, or None when there is none or it is not what was written (then the work is simply done again)."""
    record = storage.read_state(record_path(folder, shard), Record)
    return record if record is not None and record.shard == shard and _is_whole(record) else None


def _is_whole(record: Record) -> bool:
    """True when the files listed are those that the record's own hash was made of."""
    own = {name.removeprefix(PUBLISHED_FILES): e for name, e in record.files.items() if not name.startswith(KEPT_FILES)}
    return record.output_digest == output_digest(own)


def digest(parts: Iterable[str]) -> str:
    """sha256 over the parts in order, as hex."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def output_digest(files: dict[str, FileEntry]) -> str:
    """One hash over names and contents of the files a stage left."""
    return digest(f"{name} {files[name].sha256}" for name in sorted(files))
