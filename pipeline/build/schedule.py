"""The order of steps: which are ready, stage by stage.

A stage gets a shard when the stage before it is done with it, so stages run at once. A global stage, a round and a
sink's last step wait for all shards. Each operation takes the same time for any number of shards.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.plan.steps import DoneOutputs, Phase, groups, input_digest, num_parts, phases, round_step
from pipeline.run.task import RoundStep, Task
from pipeline.stage import PartitionedStage, SinkStage
from pipeline.store.records import ALL_SHARDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.records import Record

    Find = Callable[[Task], "Sequence[Record] | None"]
    """The records of a step that is done already, or None."""


@dataclass(kw_only=True)
class _Queue:
    """The steps of one stage: those that are ready, and what the others wait for."""

    phases: tuple[Phase, ...]
    shards_left: int
    ready: deque[Task | str] = field(default_factory=deque)
    """Tasks of rounds and of steps over all shards, and names of shards."""
    held: list[str] = field(default_factory=list)
    """Shards whose rows are there, while the stage waits for an artifact or for its own rounds."""
    start_needs: set[int] = field(default_factory=set)
    """Stages that must be done before the first step that is not on a shard."""
    gate: set[int] = field(default_factory=set)
    """Stages that must be done before the first step on a shard; the stage itself stands for its rounds."""
    round: int = -1
    left_in_round: int = 0
    num_parts: int = 1
    groups: Sequence[tuple[int, int]] = ()
    digest: str = ""
    """Input digest of the stage's steps over all shards."""


class Schedule:
    """Gives out the steps of a plan as tasks when all that they need is done."""

    def __init__(self, plan: Plan, find: Find) -> None:
        """`find` is asked for the steps of a stage's last round before its first: they may be done already."""
        self._plan, self._find = plan, find
        self.outputs = DoneOutputs(plan)
        self.found: list[tuple[Task, Sequence[Record]]] = []
        """Steps of rounds that were done already. The caller takes them out."""
        self.on_rounds: Callable[[int, str], None] = lambda _stage, _digest: None
        """Called before the first round of a stage starts, unless it is done, with the digest of its input, and when
        the last one has ended, with an empty text."""
        self._queues = [self._queue(planned) for planned in plan.stages]
        self._followers: defaultdict[int, list[int]] = defaultdict(list)
        for planned in plan.stages:
            if planned.upstream >= 0:
                self._followers[planned.upstream].append(planned.index)
        for shard in plan.shards:
            self._offer(0, shard.name)

    def _queue(self, planned: PlannedStage) -> _Queue:
        own = phases(planned)
        queue = _Queue(phases=own, shards_left=len(self._plan.shards) if planned.has_rows else 0)
        queue.gate = set(planned.artifacts.values())
        if any(phase.kind == "round" for phase in own):
            queue.gate.add(planned.index)
        if planned.gathered:
            queue.start_needs = set(planned.located)
        elif own[0].kind != "shards":
            queue.start_needs = {planned.upstream, *planned.artifacts.values()}
        if isinstance(planned.stage, SinkStage):  # artifacts are in its report even if no stage uses them
            queue.start_needs = {planned.index, *(p.index for p in self._plan.stages if not p.has_rows)}
        return queue

    def has_ready(self, stage: int) -> bool:
        """True when a step of the stage can start."""
        return bool(self._queues[stage].ready)

    def pop(self, stage: int) -> Task:
        """A step that can start: the one that waits longest."""
        found = self._queues[stage].ready.popleft()
        return self._shard_task(stage, found) if isinstance(found, str) else found

    def put_back(self, task: Task) -> None:
        """Make a task that was not started the next one of its stage."""
        self._queues[task.stage].ready.appendleft(task)

    def done(self, task: Task, records: Sequence[Record]) -> None:
        """Note the end of a step: its own record, after those of the shards that it gave verdicts on."""
        queue, own = self._queues[task.stage], records[-1]
        self.outputs.note((task.stage, own.shard), own.output_digest, own.rows_out)
        for record in records[:-1]:
            self.outputs.note((task.stage, record.shard), record.output_digest, record.rows_out)
            self._end_shard(task.stage, record.shard)
        if task.round is not None:
            queue.left_in_round -= 1
            if not queue.left_in_round:
                self._end_round(task.stage)
        elif task.shard != ALL_SHARDS:
            self._end_shard(task.stage, task.shard)
        elif not self._plan.stages[task.stage].has_rows:
            self._end_stage(task.stage)

    def _shard_task(self, stage: int, shard: str) -> Task:
        rounds = self._queues[stage].digest if self._plan.stages[stage].gathered else ""
        digest = input_digest(self._plan, (stage, shard), self.outputs, rounds)
        return Task(stage=stage, shard=shard, input_digest=digest)

    def _offer(self, stage: int, shard: str) -> None:
        """Let the stage work on a shard, whose rows are there now."""
        queue = self._queues[stage]
        if any(phase.kind == "shards" for phase in queue.phases):
            (queue.held if queue.gate else queue.ready).append(shard)

    def _end_shard(self, stage: int, shard: str) -> None:
        for follower in self._followers[stage]:
            self._offer(follower, shard)
        self._queues[stage].shards_left -= 1
        if not self._queues[stage].shards_left:
            self._end_stage(stage)

    def _end_stage(self, ended: int) -> None:
        """Note that all rows of a stage, or its artifact, are there."""
        for index, queue in enumerate(self._queues):
            self._open_gate(index, ended)
            if ended in queue.start_needs:
                queue.start_needs.discard(ended)
                if not queue.start_needs:
                    self._start(index)

    def _open_gate(self, stage: int, ended: int) -> None:
        queue = self._queues[stage]
        if ended in queue.gate:
            queue.gate.discard(ended)
            if not queue.gate:
                queue.ready.extend(queue.held)
                queue.held = []

    def _start(self, stage: int) -> None:
        """Start the rounds of a stage, or its step over all shards."""
        planned, queue = self._plan.stages[stage], self._queues[stage]
        key = (stage, ALL_SHARDS)
        queue.digest = input_digest(self._plan, key, self.outputs)
        if queue.phases[0].kind != "round":
            queue.ready.append(Task(stage=stage, shard=ALL_SHARDS, input_digest=queue.digest))
            return
        read = set(planned.located) or {planned.upstream}
        rows = max(int(self.outputs.rows(index).sum(dtype=np.float64)) for index in read)
        queue.num_parts = num_parts(rows)
        queue.groups = groups(len(self._plan.shards), queue.num_parts)
        rounds = [phase for phase in queue.phases if phase.kind == "round"]
        found = self._found(stage, rounds[-1])
        if found is not None:  # what it left is complete; a round before it counts only after those before that
            self.found += found
            queue.round, queue.left_in_round = rounds[-1].number, len(found)
            for task, records in found:
                self.done(task, records)
            return
        if self._found(stage, rounds[0]) is None:
            self.on_rounds(stage, queue.digest)
        self._start_round(stage, 0)

    def _found(self, stage: int, phase: Phase) -> list[tuple[Task, Sequence[Record]]] | None:
        """The records of all steps of the round, or None unless all are done."""
        found = []
        for task in self._tasks(stage, phase):
            records = self._find(task)
            if records is None:
                return None
            found.append((task, records))
        return found

    def _tasks(self, stage: int, phase: Phase) -> list[Task]:
        queue = self._queues[stage]
        spans: Sequence[tuple[int, int]] = [(0, 0)] * (queue.num_parts if phase.over == "parts" else 1)
        if phase.over == "shards":
            spans = queue.groups
        return [
            Task(
                stage=stage, shard=round_step(phase.number, index), input_digest=queue.digest,
                round=RoundStep(
                    number=phase.number, index=index, over=phase.over, is_last=phase.is_last, shards=span,
                    num_parts=queue.num_parts,
                ),
            )
            for index, span in enumerate(spans)
        ]  # fmt: skip

    def _start_round(self, stage: int, number: int) -> None:
        queue = self._queues[stage]
        tasks = self._tasks(stage, queue.phases[number])
        queue.round, queue.left_in_round = number, len(tasks)
        queue.ready.extend(tasks)

    def _end_round(self, stage: int) -> None:
        queue = self._queues[stage]
        following = queue.round + 1
        if following < len(queue.phases) and queue.phases[following].kind == "round":
            self._start_round(stage, following)
            return
        self.on_rounds(stage, "")
        if not isinstance(self._plan.stages[stage].stage, PartitionedStage):
            self._open_gate(stage, stage)
