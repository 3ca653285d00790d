"""How far a run folder is: steps and rows of each stage. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.build.funnel import why_empty
from pipeline.build.result import StageTally
from pipeline.build.resume import DoneSteps
from pipeline.plan.steps import steps
from pipeline.stage import GlobalStage
from pipeline.store.lock import describe, is_alive, read_holder
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.plan.plan import Plan
    from pipeline.plan.steps import Key
    from pipeline.store.records import Record
    from pipeline.store.storage import Storage


def status(plan: Plan, storage: Storage) -> dict[str, Any]:
    """How many steps of the plan are done in the run folder, and which process is building there now."""
    holder = read_holder(storage)
    tallies = stage_tallies(plan, DoneSteps(plan, RunFolder(storage)).each())
    complete = all(tally.done == tally.total for tally in tallies)
    return {
        "out": storage.url,
        "holder": describe(holder) if holder and is_alive(holder) else None,
        "stages": [
            {
                "stage": planned.name, "fingerprint": planned.fingerprint, "done": tally.done, "total": tally.total,
                **tally.plain_rows(),
            }
            for planned, tally in zip(plan.stages, tallies, strict=True)
        ],
        "complete": complete,
        "empty": why_empty(tallies) if complete else None,
        "may_be_empty": plan.manifest.allow_empty,
    }  # fmt: skip


def stage_tallies(plan: Plan, done: Iterable[tuple[Key, Record]]) -> list[StageTally]:
    """For each stage: the number of steps done and in all, and the rows of the steps that are done."""
    tallies = [StageTally(stage=planned.name) for planned in plan.stages]
    for index, _ in steps(plan):
        tallies[index].total += 1
    for (index, shard), record in done:
        is_global = isinstance(plan.stages[index].stage, GlobalStage)
        if shard == ALL_SHARDS or (shard in plan.shard_numbers and not is_global):
            tallies[index].done += 1
            if is_global or shard != ALL_SHARDS:  # a sink's last step has the rows of its other steps
                tallies[index].add(record)
    return tallies
