"""The history of one sample: rows that each stage wrote or rejected for it and its relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from pipeline.stage import SinkStage
from pipeline.store.tables import ROWS_PER_READ, read_batches
from samples.columns import PARENT_ID, SAMPLE_ID

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.store.storage import Storage


def explain(plan: Plan, storage: Storage, sample_id: str) -> list[dict[str, Any]]:
    """The rows of a sample, its ancestors and its children, in the order of the chain."""
    root = sample_id.split("-", 1)[0]
    story: list[dict[str, Any]] = []
    for planned in plan.stages:
        if not planned.has_rows:
            continue
        sizes = storage.sizes(planned.folder)
        is_sink = isinstance(planned.stage, SinkStage)  # its files have the columns of all stages
        for shard in plan.shards:
            for suffix, fate in ((".parquet", "kept"), (".rejects.parquet", "rejected")):
                if f"{shard.name}{suffix}" in sizes:
                    wanted = [SAMPLE_ID, *planned.stage.writes] if is_sink and fate == "kept" else None
                    rows = _rows_of(storage, f"{planned.folder}/{shard.name}{suffix}", root, wanted)
                    story.extend(
                        {"stage": planned.name, "shard": shard.name, "fate": fate, "row": row}
                        for row in rows
                        if _is_related(str(row[SAMPLE_ID]), sample_id)
                    )
    return story


def _is_related(own: str, wanted: str) -> bool:
    return own == wanted or wanted.startswith(f"{own}-") or own.startswith(f"{wanted}-")


def _rows_of(storage: Storage, rel: str, root: str, columns: list[str] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with storage.open(rel) as handle:
        for rows in read_batches(handle, columns, ROWS_PER_READ, rel):
            found.extend(rows.filter(pc.starts_with(rows[SAMPLE_ID], root)).to_pylist())
    for row in found:
        if row.get(PARENT_ID) is None:
            row.pop(PARENT_ID, None)
    return found
