"""Steps of global stages, which see all shards at once: verdicts on their rows, or an artifact."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from core.errors import ContractError
from pipeline.run.contract import check_mapped
from pipeline.run.shard_output import ShardOutput, provenance
from pipeline.stage import GlobalStage
from pipeline.store.records import ALL_SHARDS, Record, output_digest
from pipeline.store.row_counts import RowCounts
from pipeline.store.storage import describe_file
from pipeline.store.tables import ROWS_PER_READ, arrow_table
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.run.step import Step
    from pipeline.stage import ShardTables
    from pipeline.store.storage import FileEntry


def run_global(step: Step) -> tuple[Record, tuple[Record, ...]]:
    """Run a global stage: one row file a shard with its verdicts, and its artifact.

    Returns the record over all shards, and those of the verdicts.
    """
    planned, stage, storage = step.planned, step.planned.stage, step.storage
    assert isinstance(stage, GlobalStage)
    started = time.time()
    function, ctx = step.open()
    ctx.notes.clear()
    if stage.artifact:
        _remove_local(storage.scratch() / stage.artifact)  # of an attempt that failed
    counts = RowCounts()
    verdicts: list[Record] = []
    passed: dict[str, int] = {}
    waiting = [shard.name for shard in step.plan.shards] if stage.gives_verdicts else []
    for name, verdict in function(_shard_tables(step, passed)):
        if not waiting or waiting.pop(0) != name:
            raise ContractError(f"stage {planned.name}: shard {name!r} is repeated, out of order or unknown")
        verdicts.append(write_verdict(step, name, verdict))
        counts.add(verdicts[-1])
    if waiting:
        raise ContractError(f"stage {planned.name}: returned no verdict on shard {waiting[0]!r}")
    if not stage.gives_verdicts:
        counts.rows_in = counts.rows_kept = counts.rows_out = sum(passed.values())
    files = _publish_artifact(step, stage)
    record = Record(
        stage=planned.name, fingerprint=planned.fingerprint, shard=ALL_SHARDS, input_digest=step.task.input_digest,
        output_digest=output_digest(files), **counts.plain_rows(),
        notes={k: v for k, v in sorted(ctx.notes.items()) if v}, files=files, models=planned.models,
        **provenance(started, step.task.attempt),
    )  # fmt: skip
    return record, tuple(verdicts)


def _shard_tables(step: Step, passed: dict[str, int]) -> ShardTables:
    """Passes over the tables of all shards. Each pass puts the row count of every shard into `passed`."""

    def tables() -> Iterator[tuple[str, pa.Table]]:
        for shard in step.plan.shards:
            rows = step.rows(shard.name)
            batches = list(rows.batches(ROWS_PER_READ))
            step.beat(len(rows))
            passed[shard.name] = len(rows)
            yield (
                shard.name,
                pa.concat_tables(batches) if batches else arrow_table([SAMPLE_ID, *step.planned.providers]),
            )

    return tables


def write_verdict(step: Step, shard: str, verdict: pa.Table) -> Record:
    """Write the verdict on one shard. Raises `ContractError` for one that does not fit the shard's rows."""
    rows = step.rows(shard)
    with ShardOutput(step, shard) as out:
        out.rows_in = len(rows)
        out.write(check_mapped(step.planned, rows.ids, verdict))
        return out.finish()


def _remove_local(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _publish_artifact(step: Step, stage: GlobalStage) -> dict[str, FileEntry]:
    if not stage.artifact:
        return {}
    planned, storage = step.planned, step.storage
    made = storage.scratch() / stage.artifact
    parts = {stage.artifact: made} if made.is_file() else {}
    if made.is_dir():
        parts = {f"{stage.artifact}/{file.name}": file for file in sorted(made.iterdir())}
    if not parts:
        raise ContractError(f"stage {planned.name}: left no artifact {stage.artifact!r} in ctx.artifact_dir")
    files = {f"artifact/{name}": describe_file(path) for name, path in parts.items()}
    storage.remove(f"{planned.folder}/artifact")  # of an earlier input
    for name, path in parts.items():
        storage.publish(path, f"{planned.folder}/artifact/{name}")
    return files
