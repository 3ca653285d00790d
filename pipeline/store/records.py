"""The record of one step: written last, atomically, and the only sign that the step is done.

A record counts only for the same stage fingerprint and the same input. `input_digest` is a hash of what the stage read
(the input shard's identity, or the output digests upstream and the artifacts used). `output_digest` is a hash of the
files it wrote. So a record goes out of date when an input file or an upstream output changes.
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

ALL_SHARDS = "_all"
"""Name under which a step over all shards is recorded; no shard may have this name."""
KEPT_FILES = "store/"
"""Prefix of the names of files that a source keeps; they are no part of `output_digest`."""
PUBLISHED_FILES = "../../dataset/"
"""Prefix of the names of files that a sink's last step published."""


class ModelEntry(State):
    """A model that the stage used: the revision that fixes its content, and its licence where one is stated."""

    model_config = ConfigDict(extra="forbid")

    revision: str
    licence: str | None = None


class Record(State):
    """The result of one stage on one shard, where rows_in = rows_kept + the sum of `rejects`."""

    model_config = ConfigDict(extra="forbid")

    stage: str
    fingerprint: str
    shard: str
    input_digest: str
    output_digest: str
    rows_in: Count
    rows_kept: Count
    """Input rows that were not rejected; for an expand, parents with a child."""
    rows_out: Count
    rejects: dict[str, Count] = Field(default_factory=dict)
    notes: dict[str, Count] = Field(default_factory=dict)
    """Counts of other events (members ignored, archive cut off …)."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    models: dict[str, ModelEntry] = Field(default_factory=dict)
    started_at: str = ""
    duration_s: float = 0.0
    worker: str = ""
    attempt: Count = 1

    def to_json(self) -> bytes:
        """The record as stored: one line without its end, sorted keys."""
        return json.dumps(self.model_dump(), sort_keys=True).encode()

    @property
    def is_consistent(self) -> bool:
        """True when `output_digest` is the hash of the files listed. A changed record fails this."""
        written = {
            name.removeprefix(PUBLISHED_FILES): entry
            for name, entry in self.files.items()
            if not name.startswith(KEPT_FILES)
        }
        return self.output_digest == output_digest(written)


def digest(parts: Iterable[str]) -> str:
    """sha256 over the parts in order, as hex. Names of files among them may hold bytes that are no UTF-8."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def output_digest(files: dict[str, FileEntry]) -> str:
    """One hash of the names and contents of the files that a stage wrote."""
    return digest(f"{name} {files[name].sha256}" for name in sorted(files))
