"""What the functions of a sink get: a shard to write, at the end what is left of each shard, and published files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkShard:
    """The shard that a sink's function works on, and where it leaves what it makes besides rows."""

    name: str
    number: int
    """Place of the shard among those of the plan, from 0."""
    num_shards: int
    """Shards of the plan. A later build may have more, and does not do this shard again. So only further files may
    depend on the two numbers."""
    file: Path
    """Where it writes the file of the shard, which is published."""
    further_file: Callable[[str], Path]
    """Call with a suffix for the path of a further file of the shard, which is recorded and not published."""
    summary: dict[str, str]
    """Texts about the shard by name, filled by the function before it ends. `collate` gets them with the rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkPart:
    """What a sink left of one shard, as `SinkStage.collate` gets it."""

    shard: str
    file: str
    """Path of the file of the rows, for messages."""
    summary: Mapping[str, str]
    tables: Iterator[pa.Table]
    """The rows, once: `sample_id`, the columns that the sink wrote, and the light ones that it was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """The run as `SinkStage.collate` sees it."""

    manifest: Mapping[str, Any]
    """The manifest, as plain data."""
    columns: tuple[str, ...]
    """Columns that the sink gets."""
    shard_files: Mapping[str, Mapping[str, Any]]
    """Shard with rows -> rows, bytes and sha256 of the file that the sink wrote for it."""
    further_files: Mapping[str, Sequence[str]]
    """Suffix of a further file -> the shards with rows that have one, in order."""
    stages: Sequence[Mapping[str, Any]]
    """For each stage, in order: name, fingerprint, settings, models, licences, roles, rows_in, rows_kept, rows_out,
    rejects, notes, seconds. `models` has the revision of each model id, `licences` the licence where the model states
    one, `roles` its `Role` in the dataset."""
    parts: Callable[[], Iterator[SinkPart]]
    """Call for a pass over what the sink left of each shard with rows, in the order of shards."""
    rejects: Callable[[], Iterator[pa.Table]]
    """Call for batches of all rejected rows: shard, stage, sample_id, reject_reason, reject_detail, row (JSON)."""
    read: Callable[[str], bytes]
    """Call with the name of a file of a shard for its content. The whole file is read and checked."""
    open: Callable[[str], IO[bytes]]
    """Call with the name of a file of a shard to open it for reading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFiles:
    """The published files that `SinkStage.check` checks."""

    folder: str
    """Name of their folder, for messages."""
    sizes: Mapping[str, int]
    """Bytes of each file."""
    open: Callable[[str], IO[bytes]]
    """Opens the file of that name for reading."""
