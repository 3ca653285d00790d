"""Marks shards so that the next build tries again what their source could not fetch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.errors import PlanError
from pipeline.stage import SourceStage
from pipeline.store.record_log import RecordWriter
from pipeline.store.run_folder import STORE, RunFolder
from pipeline.store.tables import read_light
from samples.columns import REJECT_REASON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.storage import Storage

MARK_ALL, MARK_TRANSIENT = b"all", b"transient"
"""Content of the marker file of a shard: try again all rejects of the source, or those that may change."""


def mark_retries(plan: Plan, storage: Storage, *, everything: bool = False) -> dict[str, int]:
    """Mark what the source could not fetch for the next build: rows rejected for a `retryable` reason, or all.

    Returns the number of rows by shard, including rows marked earlier and not built since. Raises `PlanError` for a
    source that fetches nothing.
    """
    planned = plan.stages[0]
    assert isinstance(planned.stage, SourceStage)
    if not planned.stage.retryable:
        raise PlanError(f"source {planned.name} fetches nothing, so there is nothing to try again")
    folder = RunFolder(storage)
    marked: dict[str, int] = {}
    marks: dict[str, bytes] = {}
    for shard in plan.shards:
        marker = f"{planned.folder}/{STORE}/{shard.name}.retry"
        record = folder.record(planned.folder, shard.name)
        is_marked = record is None and f"{shard.name}.retry" in folder.files(f"{planned.folder}/{STORE}")
        wants_all = everything or (is_marked and storage.read_bytes(marker) == MARK_ALL)
        rejects = _rejects_left(planned, storage, shard.name) if record is None else record.rejects
        rows = _num_to_try(planned.stage, rejects, everything=wants_all)
        if is_marked or (record is not None and rows):
            marks[marker] = MARK_ALL if wants_all else MARK_TRANSIENT
            marked[shard.name] = rows
    records = RecordWriter(storage)
    records.remove(planned.folder, marked)  # first: with the record, a marker would have no effect
    records.close()
    for _ in storage.in_parallel(lambda mark: storage.write_bytes(*mark), marks.items()):
        pass
    return marked


def _num_to_try(source: SourceStage, rejects: Mapping[str, int], *, everything: bool) -> int:
    reasons = source.retryable
    if everything:
        reasons = frozenset(reason.value for reason in source.rejects or ()) - source.final
    return sum(count for reason, count in rejects.items() if reason in reasons)


def _rejects_left(planned: PlannedStage, storage: Storage, shard: str) -> Mapping[str, int]:
    """Reject counts of a shard whose record was removed when it was marked earlier."""
    rel = f"{planned.folder}/{shard}.rejects.parquet"
    if not storage.exists(rel):
        return {}
    return Counter(read_light(storage, rel, [REJECT_REASON])[REJECT_REASON].to_pylist())
