"""Makes the `RunSummary` of a sink: counts and settings of each stage, and the tables of all shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.run.rows import ShardRows
from pipeline.stage import GlobalStage, RunSummary, SinkStage
from pipeline.store.records import ALL_SHARDS, Record
from pipeline.store.row_counts import RowCounts
from pipeline.store.tables import ROWS_PER_READ, read_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.stage import Shard
    from pipeline.store.run_folder import RunFolder


def shards_with_rows(plan: Plan, folder: RunFolder) -> list[Record]:
    """The sink's records of the shards of which it has rows, in order."""
    records = folder.records(plan.stages[-1].folder, (shard.name for shard in plan.shards))
    return [record for record in records if record.rows_out]


def summarise(
    plan: Plan, folder: RunFolder, read_source: Callable[[Shard], Iterator[pa.Table]],
    beat: Callable[[int], None] = lambda _rows: None,
) -> RunSummary:  # fmt: skip
    """The summary of the run for the sink, the plan's last stage. `beat` is called while tables are read."""
    planned, storage = plan.stages[-1], folder.storage
    assert isinstance(planned.stage, SinkStage)
    filled, suffix = shards_with_rows(plan, folder), planned.stage.suffix

    def tables(shards: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        for shard in shards:
            rows = ShardRows(plan, storage, planned, shard, read_source)
            beat(1)
            for batch in rows.batches(planned.run_on.rows_per_batch, columns):
                yield shard, batch

    def rejects() -> Iterator[pa.Table]:
        for stage in plan.stages[: planned.index]:
            for name in sorted(folder.files(stage.folder)):
                shard = name.removesuffix(".rejects.parquet")
                if shard != name and shard in plan.shard_index:
                    rel = f"{stage.folder}/{name}"
                    with storage.open(rel) as handle:
                        yield from read_batches(handle, REJECT_SCHEMA.names, ROWS_PER_READ, rel)

    return RunSummary(
        manifest=plan.manifest.plain(),
        columns=tuple(planned.providers),
        shard_files={r.shard: {"rows": r.rows_out, **r.files[f"{r.shard}{suffix}"].model_dump()} for r in filled},
        stages=[stage_summary(plan, folder, stage) for stage in plan.stages],
        tables=tables,
        rejects=rejects,
    )


def stage_summary(plan: Plan, folder: RunFolder, stage: PlannedStage) -> dict[str, Any]:
    """One stage's entry in `RunSummary.stages`, from its records."""
    is_global = isinstance(stage.stage, GlobalStage)
    records = folder.records(stage.folder, [ALL_SHARDS] if is_global else [s.name for s in plan.shards])
    counts = RowCounts()
    for record in records:
        counts.add(record)
    return {
        "name": stage.name,
        "fingerprint": stage.fingerprint,
        "settings": stage.stage.model_dump(mode="json"),
        "models": {name: model.revision for name, model in stage.models.items()},
        "licences": {name: model.licence for name, model in stage.models.items() if model.licence},
        **counts.plain_rows(),
        "notes": dict(sorted(counts.notes.items())),
        "seconds": round(counts.seconds, 3),
    }
