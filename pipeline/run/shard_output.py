"""Writes the files of one stage on one shard and checks that no row is lost. The build writes the record, last."""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from core.errors import ContractError
from pipeline.run.contract import bulk_schema, row_schema
from pipeline.run.rejects import REJECT_SCHEMA, RejectLog, split
from pipeline.store.column_writer import ColumnWriter
from pipeline.store.records import KEPT_FILES, Record, output_digest
from pipeline.store.row_sizes import BATCH_BYTES
from pipeline.store.storage import describe_file
from pipeline.store.tables import BULK_SUFFIX
from samples.columns import PARENT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from pipeline.run.step import Step
    from pipeline.store.storage import FileEntry


class ShardOutput:
    """The files of one stage and shard: light and bulk columns, rejects, a sink's own file; and their record."""

    def __init__(self, step: Step, shard: str) -> None:
        self._step, self.shard = step, shard
        planned = step.planned
        self.rejects = RejectLog(planned.name, shard, [r.value for r in planned.stage.rejects or ()])
        self.rows_in = self.rows_kept = self.rows_out = 0
        self._started = time.time()
        self._stack = ExitStack()
        self._paths: dict[str, Path] = {}
        self._rejects_writer: ColumnWriter | None = None
        self._writers = [ColumnWriter(self.add_file(".parquet"), row_schema(planned))]
        bulk = bulk_schema(planned)
        if bulk is not None:
            self._writers.append(ColumnWriter(self.add_file(BULK_SUFFIX), bulk))

    def add_file(self, suffix: str) -> Path:
        """A temporary path for another file of this shard. `finish` names it `<shard><suffix>`."""
        name = f"{self.shard}{suffix}"
        self._paths[name] = self._step.storage.scratch() / f"{uuid.uuid4().hex}-{name}"
        self._stack.callback(self._paths[name].unlink, missing_ok=True)
        return self._paths[name]

    def write(self, rows: pa.Table) -> None:
        """Write rows: kept ones to the row file, rejected ones to the rejects."""
        kept, rejected = split(rows)
        self.rejects.add(rejected)
        if self.rejects.held_bytes > BATCH_BYTES:
            self._write_rejects()
        self.rows_out += kept.num_rows
        expands = self._step.planned.stage.kind == "expand"
        self.rows_kept += len(set(kept[PARENT_ID].to_pylist())) if expands else kept.num_rows
        for writer in self._writers:
            writer.write(kept)
        self._step.beat(rows.num_rows)

    def summarise(self, texts: Mapping[str, str]) -> None:
        """Store named texts about the shard with its rows. Call this before `finish`."""
        self._writers[0].add_metadata(texts)

    def finish(self, notes: dict[str, int] | None = None, kept: Mapping[str, FileEntry] | None = None) -> Record:
        """Check the row counts, move the files to their names and return the record.

        `kept` are files in the source's store. The record lists them; they are no part of `output_digest`, because the
        rows have hashes of their content. So later steps stay valid when a shard is downloaded again with the same
        result.
        """
        for writer in self._writers:
            writer.close()
        if self.rows_in != self.rows_kept + self.rejects.total:
            raise ContractError(
                f"stage {self._step.planned.name}, shard {self.shard}: {self.rows_in} rows went in, "
                f"{self.rows_kept} were kept and {self.rejects.total} rejected"
            )
        if self.rejects.total:
            self._write_rejects().close()
        storage, stage_folder = self._step.storage, self._step.planned.folder
        files = {name: describe_file(path) for name, path in self._paths.items()}
        if self._step.task.has_leftovers and not self.rejects.total:
            storage.remove(f"{stage_folder}/{self.shard}.rejects.parquet")  # of an earlier input
        for name, path in self._paths.items():
            storage.publish(path, f"{stage_folder}/{name}", is_read_again=name.endswith(".parquet"))
        return self._record(files, notes or {}, {f"{KEPT_FILES}{name}": entry for name, entry in (kept or {}).items()})

    def _write_rejects(self) -> ColumnWriter:
        if self._rejects_writer is None:
            self._rejects_writer = ColumnWriter(self.add_file(".rejects.parquet"), REJECT_SCHEMA)
        self._rejects_writer.write(self.rejects.drain())
        return self._rejects_writer

    def _record(self, files: dict[str, FileEntry], notes: dict[str, int], kept: dict[str, FileEntry]) -> Record:
        planned, task = self._step.planned, self._step.task
        return Record(
            stage=planned.name, fingerprint=planned.fingerprint, shard=self.shard, input_digest=task.input_digest,
            output_digest=output_digest(files),
            rows_in=self.rows_in, rows_kept=self.rows_kept, rows_out=self.rows_out,
            rejects=dict(sorted(self.rejects.counts.items())), notes={k: v for k, v in sorted(notes.items()) if v},
            files=files | kept, models=planned.models, **provenance(self._started, task.attempt),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for writer in self._writers:
            writer.abandon()
        if self._rejects_writer is not None:
            self._rejects_writer.abandon()
        self._stack.close()


def provenance(started: float, attempt: int) -> dict[str, Any]:
    """Start, duration, worker and attempt, for a record."""
    return {
        "started_at": dt.datetime.fromtimestamp(started, dt.UTC).isoformat(timespec="seconds"),
        "duration_s": round(time.time() - started, 3),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        "attempt": attempt,
    }
