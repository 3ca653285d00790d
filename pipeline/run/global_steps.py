"""What spans all shards: whole-dataset stages, and the last step of a sink, which publishes the dataset."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from core.errors import ContractError
from pipeline.run.contract import check_mapped
from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.run.rows import ShardRows
from pipeline.run.shard_steps import ShardOutput, provenance
from pipeline.stage import GlobalStage, RunSummary, SinkStage
from pipeline.store.records import ALL_SHARDS, PUBLISHED_FILES, Record, output_digest, read_record, record_path
from pipeline.store.storage import DATASET, describe_file
from pipeline.store.tables import arrow_table, read_batches
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeline.plan.plan import PlannedStage
    from pipeline.run.worker import Task, Worker
    from pipeline.store.storage import FileEntry


PUBLISHED = "run/published.json"
"""Says which result `dataset/` holds now."""

ROWS_PER_READ = 65_536


def run_global(worker: Worker, planned: PlannedStage, task: Task) -> Record:
    """A whole-dataset stage: its verdicts as one row file a shard, its artifact, then one record for all."""
    stage = planned.stage
    assert isinstance(stage, GlobalStage)
    started = time.time()
    function, ctx = worker.open(planned.index)
    ctx.notes.clear()
    worker.storage.remove(record_path(planned.folder, ALL_SHARDS))
    if stage.artifact:
        _remove_local(worker.storage.scratch() / stage.artifact)  # of an attempt that failed
    rows_in = rows_out = 0
    rejects: dict[str, int] = {}
    passed: dict[str, int] = {}
    waiting = [shard.name for shard in worker.plan.shards] if stage.gives_verdicts else []
    for name, verdict in function(_shard_tables(worker, planned, passed)):
        if not waiting or waiting.pop(0) != name:
            raise ContractError(f"stage {planned.name}: shard {name!r} came twice, out of order, or is unknown")
        record = _write_verdict(worker, planned, task, name, verdict)
        rows_in, rows_out = rows_in + record.rows_in, rows_out + record.rows_out
        rejects = {r: rejects.get(r, 0) + record.rejects.get(r, 0) for r in [*rejects, *record.rejects]}
    if waiting:
        raise ContractError(f"stage {planned.name}: gave no verdict on shard {waiting[0]!r}")
    if not stage.gives_verdicts:
        rows_in = rows_out = sum(passed.values())
    files = _publish_artifact(worker, planned, stage)
    record = Record(
        stage=planned.name, fingerprint=planned.fingerprint, shard=ALL_SHARDS, input_digest=task.input_digest,
        output_digest=output_digest(files), rows_in=rows_in, rows_kept=rows_out, rows_out=rows_out, rejects=rejects,
        notes={k: v for k, v in sorted(ctx.notes.items()) if v}, files=files, models=planned.models,
        **provenance(started, task.attempt),
    )  # fmt: skip
    worker.storage.write_bytes(record_path(planned.folder, ALL_SHARDS), record.to_json())
    return record


def _shard_tables(
    worker: Worker, planned: PlannedStage, passed: dict[str, int]
) -> Callable[[], Iterable[tuple[str, pa.Table]]]:
    """Passes over all shards; `passed` gets the rows of each."""

    def tables() -> Iterator[tuple[str, pa.Table]]:
        for shard in worker.plan.shards:
            rows = ShardRows(worker.plan, worker.storage, planned, shard.name, worker.read_source)
            batches = list(rows.batches(ROWS_PER_READ))
            worker.beat(len(rows))
            passed[shard.name] = len(rows)
            yield shard.name, pa.concat_tables(batches) if batches else arrow_table([SAMPLE_ID, *planned.providers])

    return tables


def _write_verdict(worker: Worker, planned: PlannedStage, task: Task, shard: str, verdict: pa.Table) -> Record:
    rows = ShardRows(worker.plan, worker.storage, planned, shard, worker.read_source)
    with ShardOutput(worker, planned, task, shard) as out:
        out.rows_in = len(rows)
        out.write(check_mapped(planned, rows.ids, verdict))
        return out.finish()


def _remove_local(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _publish_artifact(worker: Worker, planned: PlannedStage, stage: GlobalStage) -> dict[str, FileEntry]:
    if not stage.artifact:
        return {}
    made = worker.storage.scratch() / stage.artifact
    parts = {stage.artifact: made} if made.is_file() else {}
    if made.is_dir():
        parts = {f"{stage.artifact}/{file.name}": file for file in sorted(made.iterdir())}
    if not parts:
        raise ContractError(f"stage {planned.name}: left no artifact {stage.artifact!r} in ctx.artifact_dir")
    files = {f"artifact/{name}": describe_file(path) for name, path in parts.items()}
    worker.storage.remove(f"{planned.folder}/artifact")  # of an earlier input
    for name, path in parts.items():
        worker.storage.publish(path, f"{planned.folder}/artifact/{name}")
    return files


def run_collate(worker: Worker, planned: PlannedStage, task: Task) -> Record:
    """Gather the sink's files, let it add what describes them together, and put the result in `dataset/`."""
    stage, storage = planned.stage, worker.storage
    assert isinstance(stage, SinkStage)
    started = time.time()
    folder = storage.scratch() / f"collate-{planned.index}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    records = [read_record(storage, planned.folder, s.name) for s in worker.plan.shards]
    filled = [r for r in records if r is not None and r.rows_out]
    links = {f"{r.shard}{stage.suffix}": f"{planned.folder}/{r.shard}{stage.suffix}" for r in filled}
    stage.collate(folder, summarise(worker, planned, filled))
    storage.remove(PUBLISHED)
    files = {file.name: describe_file(file) for file in sorted(folder.iterdir())}
    files |= {f"{r.shard}{stage.suffix}": r.files[f"{r.shard}{stage.suffix}"] for r in filled}
    storage.publish_folder(folder, DATASET, links)
    rows = sum(r.rows_out for r in filled)
    record = Record(
        stage=planned.name, fingerprint=planned.fingerprint, shard=ALL_SHARDS, input_digest=task.input_digest,
        output_digest=output_digest(files), rows_in=rows, rows_kept=rows, rows_out=rows,
        files={f"{PUBLISHED_FILES}{name}": entry for name, entry in files.items()},
        **provenance(started, task.attempt),
    )  # fmt: skip
    storage.write_bytes(record_path(planned.folder, ALL_SHARDS), record.to_json())
    storage.write_bytes(PUBLISHED, json.dumps({"output_digest": record.output_digest}).encode())
    return record


def summarise(worker: Worker, planned: PlannedStage, filled: Sequence[Record]) -> RunSummary:
    """What the sink may know of the run that led to it."""
    plan, storage = worker.plan, worker.storage
    assert isinstance(planned.stage, SinkStage)

    def tables(shards: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        for shard in shards:
            rows = ShardRows(plan, storage, planned, shard, worker.read_source)
            worker.beat(1)
            for batch in rows.batches(planned.run_on.rows_per_batch, columns):
                yield shard, batch

    def rejects() -> Iterator[pa.Table]:
        for stage in plan.stages[: planned.index]:
            for name in sorted(storage.sizes(stage.folder)):
                shard = name.removesuffix(".rejects.parquet")
                if shard != name and shard in plan.shard_index:
                    rel = f"{stage.folder}/{name}"
                    with storage.open(rel) as handle:
                        yield from read_batches(handle, REJECT_SCHEMA.names, ROWS_PER_READ, rel)

    return RunSummary(
        manifest=plan.manifest.plain(),
        columns=tuple(planned.providers),
        shard_files={
            r.shard: {"rows": r.rows_out, **r.files[f"{r.shard}{planned.stage.suffix}"].model_dump()} for r in filled
        },
        stages=[_stage_summary(worker, stage) for stage in plan.stages[: planned.index + 1]],
        tables=tables,
        rejects=rejects,
    )


def _stage_summary(worker: Worker, stage: PlannedStage) -> dict[str, Any]:
    is_global = isinstance(stage.stage, GlobalStage)
    names = [ALL_SHARDS] if is_global else [s.name for s in worker.plan.shards]
    records = [r for r in (read_record(worker.storage, stage.folder, n) for n in names) if r is not None]
    rejects: dict[str, int] = {}
    notes: dict[str, int] = {}
    for record in records:
        for reason, count in record.rejects.items():
            rejects[reason] = rejects.get(reason, 0) + count
        for note, count in record.notes.items():
            notes[note] = notes.get(note, 0) + count
    return {
        "name": stage.name,
        "fingerprint": stage.fingerprint,
        "settings": stage.stage.model_dump(mode="json"),
        "models": {name: model.revision for name, model in stage.models.items()},
        "licences": {name: model.licence for name, model in stage.models.items() if model.licence},
        "rows_in": sum(r.rows_in for r in records),
        "rows_kept": sum(r.rows_kept for r in records),
        "rows_out": sum(r.rows_out for r in records),
        "rejects": dict(sorted(rejects.items())),
        "notes": dict(sorted(notes.items())),
        "seconds": round(sum(r.duration_s for r in records), 3),
    }
