"""Makes the `RunSummary` of a sink: counts and settings of each stage, and what the sink left of all shards.

Each record and each file is read once. Files are read a few at a time ahead, where a request takes long.
"""

from __future__ import annotations

import errno
import hashlib
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from core.errors import DamagedFileError
from pipeline.plan.steps import round_step
from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.sink import RunSummary, SinkPart
from pipeline.stage import GlobalStage, PartitionedStage, SinkStage
from pipeline.store.records import ALL_SHARDS
from pipeline.store.row_counts import RowCounts
from pipeline.store.tables import ROWS_PER_READ, named_damage, open_table, read_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.records import Record
    from pipeline.store.run_folder import RunFolder
    from pipeline.store.storage import FileEntry, Storage

ROWS, REJECTS = ".parquet", ".rejects.parquet"
"""Suffixes of the files that every stage may leave of a shard."""


def summarise(plan: Plan, folder: RunFolder, beat: Callable[[int], None] = lambda _rows: None) -> RunSummary:
    """The summary of the run for the sink, the plan's last stage. `beat` is called while files are read."""
    planned = plan.stages[-1]
    assert isinstance(planned.stage, SinkStage)
    left = _LeftFiles(folder.storage, planned.folder, beat)
    rejected: dict[str, FileEntry] = {}
    stages = []
    for stage in plan.stages:
        counts, num_shards = RowCounts(), 0
        for record in _records(plan, folder, stage):
            _count(counts, stage, record)
            num_shards += record.shard in plan.shard_numbers
            entry = record.files.get(f"{record.shard}{REJECTS}")
            if entry is not None:
                rejected[f"{stage.folder}/{record.shard}{REJECTS}"] = entry
            if stage is planned and record.rows_out:
                left.add(record)
        folder.forget(stage.folder)
        if stage.has_rows and num_shards < len(plan.shards):  # a shared disk that is late shows them the next time
            raise OSError(errno.ESTALE, f"{len(plan.shards) - num_shards} records are not there", stage.folder)
        stages.append(_described(stage, counts))
    own = planned.stage.suffix
    return RunSummary(
        manifest=plan.manifest.plain(),
        columns=tuple(planned.providers),
        shard_files={s: {"rows": n, **left.files[f"{s}{own}"].model_dump()} for s, n in left.rows.items()},
        further_files={suffix: shards for suffix, shards in left.shards.items() if suffix not in (ROWS, REJECTS, own)},
        stages=stages,
        parts=left.parts,
        rejects=lambda: _rejects(folder.storage, rejected, beat),
        read=left.read,
        open=left.open,
    )


def stage_summary(plan: Plan, folder: RunFolder, stage: PlannedStage) -> dict[str, Any]:
    """One stage's entry in `RunSummary.stages`, from its records."""
    counts = RowCounts()
    for record in _records(plan, folder, stage):
        _count(counts, stage, record)
    return _described(stage, counts)


def _described(stage: PlannedStage, counts: RowCounts) -> dict[str, Any]:
    return {
        "name": stage.name,
        "fingerprint": stage.fingerprint,
        "settings": stage.stage.model_dump(mode="json"),
        "models": {name: model.revision for name, model in stage.models.items()},
        "licences": {name: model.licence for name, model in stage.models.items() if model.licence},
        "roles": stage.stage.model_roles(),
        **counts.plain_rows(),
        "notes": dict(sorted(counts.notes.items())),
        "seconds": round(counts.seconds, 3),
    }


def _records(plan: Plan, folder: RunFolder, stage: PlannedStage) -> Iterator[Record]:
    """The records of a stage: of its shards, and those that count for all of them."""
    digest = ""
    for record in folder.records(stage.folder, (shard.name for shard in plan.shards if stage.has_rows)):
        digest = record.input_digest
        yield record
    if isinstance(stage.stage, GlobalStage):
        yield from folder.records(stage.folder, [ALL_SHARDS])
    if isinstance(stage.stage, PartitionedStage):  # records of rounds over other shards may be left
        yield from (record for record in _round_records(folder, stage) if record.input_digest == digest)


def _round_records(folder: RunFolder, stage: PlannedStage) -> Iterator[Record]:
    """The records of the steps of rounds, which have notes and seconds."""
    for number in range(len(stage.rounds_over) + 1):
        for index in count():
            record = folder.record(stage.folder, round_step(number, index))
            if record is None:
                break
            yield record


def _count(counts: RowCounts, stage: PlannedStage, record: Record) -> None:
    """Add a record, unless it is of a shard whose rows the record over all shards has counted."""
    if not isinstance(stage.stage, GlobalStage) or record.shard == ALL_SHARDS:
        counts.add(record)


class _LeftFiles:
    """The files that the sink left of each shard with rows."""

    def __init__(self, storage: Storage, folder: str, beat: Callable[[int], None]) -> None:
        self._storage, self._folder, self._beat = storage, folder, beat
        self.rows: dict[str, int] = {}
        self.files: dict[str, FileEntry] = {}
        self.shards: dict[str, list[str]] = {}
        """Suffix -> the shards that have such a file, in order."""

    def add(self, record: Record) -> None:
        self.rows[record.shard] = record.rows_out
        for name, entry in record.files.items():
            self.files[name] = entry
            self.shards.setdefault(name.removeprefix(record.shard), []).append(record.shard)

    def parts(self) -> Iterator[SinkPart]:
        rels = (f"{self._folder}/{shard}{ROWS}" for shard in self.rows)
        for shard, content in zip(self.rows, self._storage.contents(rels), strict=True):
            self._beat(1)
            name = f"{shard}{ROWS}"
            yield _part(shard, f"{self._folder}/{name}", _checked(content, f"{self._folder}/{name}", self.files[name]))

    def read(self, name: str) -> bytes:
        rel = f"{self._folder}/{name}"
        return _checked(self._storage.read_bytes(rel), rel, self.files[name])

    def open(self, name: str) -> Any:
        return self._storage.open(f"{self._folder}/{name}")


def _part(shard: str, rel: str, content: bytes) -> SinkPart:
    with named_damage(rel):
        file = open_table(pa.BufferReader(content))
        found = file.metadata.metadata or {}
        names = file.schema_arrow.names
    return SinkPart(
        shard=shard,
        file=rel,
        summary={key.decode(): text.decode() for key, text in found.items() if key != b"ARROW:schema"},
        tables=(
            table.replace_schema_metadata()
            for table in read_batches(pa.BufferReader(content), names, ROWS_PER_READ, rel)
        ),
    )  # fmt: skip


def _rejects(storage: Storage, files: dict[str, FileEntry], beat: Callable[[int], None]) -> Iterator[pa.Table]:
    for (rel, entry), content in zip(files.items(), storage.contents(files), strict=True):
        beat(1)
        yield from read_batches(pa.BufferReader(_checked(content, rel, entry)), REJECT_SCHEMA.names, ROWS_PER_READ, rel)


def _checked(content: bytes, rel: str, entry: FileEntry) -> bytes:
    """The content of a file. Raises `DamagedFileError` where it is not the one that the record lists."""
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DamagedFileError(f"{rel} is not what was written (sha256 differs); remove it and build again")
    return content
