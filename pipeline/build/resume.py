"""Decides which steps are done: those with a record for this plan and this input whose files exist."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pipeline.build.schedule import Schedule
from pipeline.stage import GlobalStage, SinkStage
from pipeline.store.records import ALL_SHARDS, PUBLISHED_FILES, Record
from pipeline.store.run_folder import DATASET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.plan.steps import Key
    from pipeline.run.task import Task
    from pipeline.store.run_folder import RunFolder


class DoneSteps:
    """The steps of a plan that are done in a run folder."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self.plan, self._folder = plan, folder
        self.waiting: set[Key] = set()
        """Steps that `each` found not done though all that they need is."""
        self.waiting_stages: set[int] = set()
        """The stages of these steps."""
        self.of_rounds: defaultdict[int, set[str]] = defaultdict(set)
        """Stage -> steps of rounds that `each` found done, and the shards that these gave their verdict on."""

    def find(self, task: Task) -> Sequence[Record] | None:
        """The records of a step, its own the last, or None when the step has to be done.

        The others are those of shards that a step over several shards gave its verdict on.
        """
        planned = self.plan.stages[task.stage]
        record = self._valid(planned, task.shard, task.input_digest)
        if record is None:
            return None
        if task.shard == ALL_SHARDS and isinstance(planned.stage, SinkStage):
            return [record] if self._is_published(planned.stage, record) else None
        verdicts = self._all_valid(planned, verdict_shards(self.plan, task), task.input_digest)
        return None if verdicts is None else [*verdicts, record]

    def _valid(self, planned: PlannedStage, shard: str, digest: str) -> Record | None:
        if not self._folder.has_record(planned.folder, shard):
            return None
        record = self._folder.record(planned.folder, shard)
        if record is None or record.fingerprint != planned.fingerprint or record.input_digest != digest:
            return None
        return record if self._folder.has_files(planned.folder, record) else None

    def _all_valid(self, planned: PlannedStage, shards: Iterable[str], digest: str) -> list[Record] | None:
        found: list[Record] = []
        for shard in shards:
            record = self._valid(planned, shard, digest)
            if record is None:
                return None
            found.append(record)
        return found

    def each(self) -> Iterator[tuple[Key, Record]]:
        """The records of all steps that are done, and whose needs are done, in the order of the chain."""
        schedule = Schedule(self.plan, self.find)
        for planned in self.plan.stages:
            while schedule.has_ready(planned.index) or schedule.found:
                found, schedule.found = schedule.found, []
                found = found or self._popped(schedule, planned.index)
                for task, records in found:
                    if task.round is not None:
                        self.of_rounds[task.stage].update(record.shard for record in records)
                    yield from (((task.stage, record.shard), record) for record in records)
            self._folder.forget(planned.folder)

    def _popped(self, schedule: Schedule, stage: int) -> list[tuple[Task, Sequence[Record]]]:
        """The next step of a stage with its records, or an empty list when it is not done."""
        task = schedule.pop(stage)
        records = self.find(task)
        if records is None:
            self.waiting.add(task.key)
            self.waiting_stages.add(task.stage)
            return []
        schedule.done(task, records)
        return [(task, records)]

    def all(self) -> dict[Key, Record]:
        """As `each`, in memory at once."""
        return dict(self.each())

    def _is_published(self, sink: SinkStage, record: Record) -> bool:
        """True when `dataset/` holds this result. The list of its files is hashed, since a change may keep its size."""
        entry = record.files.get(f"{PUBLISHED_FILES}{sink.list_file}")
        is_listed = entry is None or self._folder.has_content(f"{DATASET}/{sink.list_file}", entry)
        return is_listed and self._folder.is_published(record)


def verdict_shards(plan: Plan, task: Task) -> list[str]:
    """Names of the shards on which the step gives verdicts: none for a step on one shard."""
    planned = plan.stages[task.stage]
    if task.round is not None and task.round.is_last:
        return [shard.name for shard in plan.shards[slice(*task.round.shards)]]
    if isinstance(planned.stage, GlobalStage) and planned.has_rows:
        return [shard.name for shard in plan.shards]
    return []
