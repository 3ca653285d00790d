"""How far a run folder is: steps and rows of each stage. Changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pipeline.build.funnel import why_empty
from pipeline.build.resume import DoneSteps
from pipeline.plan.steps import steps
from pipeline.stage import GlobalStage, SinkStage
from pipeline.store.lock import describe, is_alive, read_holder
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.plan.plan import Plan
    from pipeline.plan.steps import Key
    from pipeline.store.records import Record
    from pipeline.store.storage import Storage


def status(plan: Plan, storage: Storage) -> dict[str, Any]:
    """How many steps of the plan are done in the run folder, and which process is building there now."""
    holder = read_holder(storage)
    stages = stage_counts(plan, DoneSteps(plan, RunFolder(storage)).all())
    complete = all(s["done"] == s["total"] for s in stages)
    return {
        "out": storage.url,
        "holder": describe(holder) if holder and is_alive(holder) else None,
        "stages": stages,
        "complete": complete,
        "empty": why_empty(stages) if complete else None,
        "may_be_empty": plan.manifest.allow_empty,
    }


def stage_counts(plan: Plan, done: Mapping[Key, Record]) -> list[dict[str, Any]]:
    """For each stage: steps done and in all, rows and rejects of the steps that are done."""
    total = Counter(index for index, _ in steps(plan))
    stages = []
    for planned in plan.stages:
        own = {shard: record for (index, shard), record in done.items() if index == planned.index}
        if isinstance(planned.stage, GlobalStage):
            own = {shard: record for shard, record in own.items() if shard == ALL_SHARDS}
        rows = [r for shard, r in own.items() if not (shard == ALL_SHARDS and isinstance(planned.stage, SinkStage))]
        rejects: Counter[str] = Counter()
        for record in rows:
            rejects.update(record.rejects)
        stages.append(
            {
                "stage": planned.name,
                "fingerprint": planned.fingerprint,
                "done": len(own),
                "total": total[planned.index],
                "rows_in": sum(r.rows_in for r in rows),
                "rows_kept": sum(r.rows_kept for r in rows),
                "rows_out": sum(r.rows_out for r in rows),
                "rejects": dict(sorted(rejects.items())),
            }
        )
    return stages
