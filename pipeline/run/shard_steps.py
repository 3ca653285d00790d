"""One stage on one shard: rows in, the stage's function, the contract checked, files and record out.

Owns row accounting and the order of writing: data first, record last. Does not decide what runs when
(`pipeline.build.build`) or where (`pipeline.run.executor`); what spans all shards is in `pipeline.run.global_steps`.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ContractError
from pipeline.run.contract import check_expanded, check_mapped, check_source, row_schema
from pipeline.run.quarantine import Quarantine
from pipeline.run.rejects import REJECT_SCHEMA, EngineReject, RejectLog, split
from pipeline.run.rows import ShardRows
from pipeline.stage import SinkStage
from pipeline.store.records import KEPT_FILES, Record, output_digest, record_path
from pipeline.store.storage import FolderStore, describe_file
from pipeline.store.tables import BATCH_BYTES, ColumnWriter
from samples.columns import COLUMNS, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipeline.plan.plan import PlannedStage
    from pipeline.run.worker import Task, Worker
    from pipeline.store.storage import FileEntry


class ShardOutput:
    """The files of one stage and shard: rows, rejects and, for a sink, its own file; then the record."""

    def __init__(self, worker: Worker, planned: PlannedStage, task: Task, shard: str) -> None:
        self.worker, self.planned, self.task, self.shard = worker, planned, task, shard
        self.rejects = RejectLog(planned.name, shard, [r.value for r in planned.stage.rejects or ()])
        self.rows_in = self.rows_kept = self.rows_out = 0
        self._started = time.time()
        self._stack = ExitStack()
        self._paths: dict[str, Path] = {}
        self._rejects_writer: ColumnWriter | None = None
        self._writer = ColumnWriter(self.add_file(".parquet"), row_schema(planned))

    def add_file(self, suffix: str) -> Path:
        """A temporary path for a further file of this shard, named `<shard><suffix>` once the work is done."""
        name = f"{self.shard}{suffix}"
        self._paths[name] = self.worker.storage.scratch() / f"{uuid.uuid4().hex}-{name}"
        self._stack.callback(self._paths[name].unlink, missing_ok=True)
        return self._paths[name]

    def write(self, rows: pa.Table) -> None:
        """Split kept from rejected rows and write both."""
        kept, rejected = split(rows)
        self.rejects.add(rejected)
        if self.rejects.held_bytes > BATCH_BYTES:
            self._write_rejects()
        self.rows_out += kept.num_rows
        expands = self.planned.stage.kind == "expand"
        self.rows_kept += len(set(kept[PARENT_ID].to_pylist())) if expands else kept.num_rows
        self._writer.write(kept)
        self.worker.beat(rows.num_rows)

    def finish(self, notes: dict[str, int] | None = None, kept: Mapping[str, FileEntry] | None = None) -> Record:
        """Check the accounts, move the files to their names and write the record, last.

        `kept` are files of the source's store: listed in the record, and no part of `output_digest`, as the rows' own
        hashes say what is in them. So a shard that was downloaded again with the same result changes nothing after it.
        """
        self._writer.close()
        if self.rows_in != self.rows_kept + self.rejects.total:
            raise ContractError(
                f"stage {self.planned.name}, shard {self.shard}: {self.rows_in} rows went in, "
                f"{self.rows_kept} were kept and {self.rejects.total} rejected"
            )
        if self.rejects.total:
            self._write_rejects().close()
        storage, folder = self.worker.storage, self.planned.folder
        files = {name: describe_file(path) for name, path in self._paths.items()}
        storage.remove(record_path(folder, self.shard))
        if not self.rejects.total:
            storage.remove(f"{folder}/{self.shard}.rejects.parquet")  # of an earlier input
        for name, path in self._paths.items():
            storage.publish(path, f"{folder}/{name}")
        record = self._record(
            files, notes or {}, {f"{KEPT_FILES}{name}": entry for name, entry in (kept or {}).items()}
        )
        storage.write_bytes(record_path(folder, self.shard), record.to_json())
        return record

    def _write_rejects(self) -> ColumnWriter:
        if self._rejects_writer is None:
            self._rejects_writer = ColumnWriter(self.add_file(".rejects.parquet"), REJECT_SCHEMA)
        self._rejects_writer.write(self.rejects.drain())
        return self._rejects_writer

    def _record(self, files: dict[str, FileEntry], notes: dict[str, int], kept: dict[str, FileEntry]) -> Record:
        return Record(
            stage=self.planned.name, fingerprint=self.planned.fingerprint, shard=self.shard,
            input_digest=self.task.input_digest, output_digest=output_digest(files),
            rows_in=self.rows_in, rows_kept=self.rows_kept, rows_out=self.rows_out,
            rejects=dict(sorted(self.rejects.counts.items())), notes={k: v for k, v in sorted(notes.items()) if v},
            files=files | kept, models=self.planned.models,
            **provenance(self._started, self.task.attempt),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.abandon()
        if self._rejects_writer is not None:
            self._rejects_writer.abandon()
        self._stack.close()


def provenance(started: float, attempt: int) -> dict[str, Any]:
    """When, how long and where, for a record."""
    return {
        "started_at": dt.datetime.fromtimestamp(started, dt.UTC).isoformat(timespec="seconds"),
        "duration_s": round(time.time() - started, 3),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        "attempt": attempt,
    }


def run_source(worker: Worker, planned: PlannedStage, task: Task) -> Record:
    """Read the input shard; rows whose image bytes stood earlier in the shard are rejected as duplicates."""
    read, ctx = worker.open(planned.index)
    ctx.notes.clear()
    assert isinstance(ctx.store, FolderStore)
    ctx.store.kept.clear()
    worker.storage.remove(record_path(planned.folder, task.shard))  # the store may change, and it would not know
    limit = worker.plan.row_limit
    seen: set[str] = set()
    with ShardOutput(worker, planned, task, task.shard) as out:
        for made in read(worker.plan.shard(task.shard)):
            rows = _reject_repeats(check_source(planned, made), seen)
            if limit is not None:
                rows = rows.slice(0, max(0, limit - out.rows_in))
            out.rows_in += rows.num_rows
            out.write(rows)
            if limit is not None and out.rows_in >= limit:
                break
        return out.finish(dict(ctx.notes), ctx.store.kept)


def _reject_repeats(rows: pa.Table, seen: set[str]) -> pa.Table:
    ids = rows[SAMPLE_ID].to_pylist()
    reasons = rows[REJECT_REASON].to_pylist() if REJECT_REASON in rows.column_names else [None] * len(ids)
    details = rows[REJECT_DETAIL].to_pylist() if REJECT_DETAIL in rows.column_names else [None] * len(ids)
    for i, own in enumerate(ids):
        if reasons[i] is None and own in seen:
            reasons[i], details[i] = EngineReject.DUPLICATE_IMAGE.value, "same bytes as an earlier row of the shard"
        elif reasons[i] is None:
            seen.add(own)
    rows = rows.select([n for n in rows.column_names if n not in (REJECT_REASON, REJECT_DETAIL)])
    rows = rows.append_column(REJECT_REASON, pa.array(reasons, pa.string()))
    return rows.append_column(REJECT_DETAIL, pa.array(details, pa.string()))


def run_batches(worker: Worker, planned: PlannedStage, task: Task) -> Record:
    """A map or expand stage on one shard, batch by batch."""
    function, ctx = worker.open(planned.index)
    ctx.notes.clear()
    check = check_expanded if planned.stage.kind == "expand" else check_mapped
    rows_per_batch = max(1, planned.run_on.rows_per_batch >> task.halvings)

    def checked(batch: pa.Table) -> pa.Table:
        return _with_input(check(planned, batch[SAMPLE_ID].to_pylist(), function(batch)), batch)

    rows = ShardRows(worker.plan, worker.storage, planned, task.shard, worker.read_source)
    with ShardOutput(worker, planned, task, task.shard) as out:
        quarantine = _quarantine(worker, out, rows, task)
        for batch in rows.batches(rows_per_batch):
            first, out.rows_in = out.rows_in, out.rows_in + batch.num_rows
            made = 0
            for result in quarantine.apply(checked, batch, first):
                made += result.nbytes
                out.write(result)
            rows.made(batch.num_rows, made)
        return out.finish(dict(ctx.notes))


def _quarantine(worker: Worker, out: ShardOutput, rows: ShardRows, task: Task) -> Quarantine:
    max_frac = worker.plan.manifest.run_on.max_quarantined_frac
    return Quarantine(out.rejects, len(rows), max_frac, suspects=task.suspects, at=worker.at)


def _with_input(result: pa.Table, batch: pa.Table) -> pa.Table:
    """Give rejected rows the light columns they came with, so that the reject file says what they were."""
    if REJECT_REASON not in result.column_names or result[REJECT_REASON].null_count == result.num_rows:
        return result
    where = pc.index_in(result[SAMPLE_ID], batch[SAMPLE_ID])
    for name in batch.column_names:
        if name not in result.column_names and not COLUMNS[name].bulk:
            result = result.append_column(batch.schema.field(name), batch[name].take(where))
    return result


def run_sink(worker: Worker, planned: PlannedStage, task: Task) -> Record:
    """A sink stage on one shard: its own file next to the row file."""
    assert isinstance(planned.stage, SinkStage)
    function, ctx = worker.open(planned.index)
    ctx.notes.clear()
    rows = ShardRows(worker.plan, worker.storage, planned, task.shard, worker.read_source)
    with ShardOutput(worker, planned, task, task.shard) as out:
        out.rows_in = len(rows)  # so that batches which the sink swallows are missed in the accounts
        sent: list[tuple[list[str], int]] = []
        quarantine = _quarantine(worker, out, rows, task)

        def batches() -> Iterator[pa.Table]:
            first = 0
            for batch in rows.batches(max(1, planned.run_on.rows_per_batch >> task.halvings)):
                for piece, start in quarantine.pieces(batch, first):
                    sent.append((piece[SAMPLE_ID].to_pylist(), start))
                    yield piece
                first += batch.num_rows

        for done, result in enumerate(function(task.shard, batches(), out.add_file(planned.stage.suffix))):
            if done >= len(sent):
                raise ContractError(f"stage {planned.name}: gave a table more than it was handed")
            ids, start = sent[done]
            quarantine.finished(start, len(ids))
            out.write(check_mapped(planned, ids, result))
        return out.finish(dict(ctx.notes))
