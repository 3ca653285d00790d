"""The build: submits ready steps to an executor, downstream first, until no step can be done.

Owns the order of steps. What counts as done is in `pipeline.build.resume`, what follows a failure in
`pipeline.build.attempts`. Does not open stages and depends on no particular executor.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from core.errors import RunStopped
from pipeline.build.attempts import Attempts
from pipeline.build.result import BuildResult, StageTally
from pipeline.build.resume import DoneSteps
from pipeline.plan.steps import Key, input_digest, needs_of, steps
from pipeline.run.task import Task
from pipeline.stage import SinkStage
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.plan.plan import Plan
    from pipeline.run.executor import Executor
    from pipeline.run.task import Outcome
    from pipeline.store.records import Record
    from pipeline.store.storage import Storage

POLL_S = 0.5


class Build:
    """One build of one plan with one executor. `on_event(event, fields)` is called for every event."""

    def __init__(
        self, plan: Plan, storage: Storage, executor: Executor, on_event: Callable[[str, dict[str, object]], None]
    ) -> None:
        self.plan, self.executor, self.on_event = plan, executor, on_event
        self.tallies = [StageTally(stage=planned.name) for planned in plan.stages]
        self.failures: dict[Key, str] = {}
        self.interrupted = False
        self._without_rows: set[str] = set()
        self._last = max(planned.index for planned in plan.stages if planned.has_rows)
        self._stopped: str | None = None
        self._outputs: dict[Key, str] = {}
        self._waiting: dict[Key, int] = {}
        self._dependents: defaultdict[Key, list[Key]] = defaultdict(list)
        self._ready: list[tuple[float, int, int, Key]] = []
        self._retries: dict[Key, Task] = {}
        self._attempts = Attempts(plan.manifest.run_on)
        self._running: dict[Key, Task] = {}
        self._folder = RunFolder(storage)
        self._done = DoneSteps(plan, self._folder)
        self._started = self._is_starting = False
        self._waits_for = ""
        for number, key in enumerate(steps(plan)):
            needs = needs_of(plan, key)
            self._waiting[key] = len(needs)
            for need in needs:
                self._dependents[need].append(key)
            self.tallies[key[0]].total += 1
            if not needs:
                self._push(key, number)

    def interrupt(self) -> None:
        """Stop submitting steps. `run` returns when the running ones finish.

        Raises `KeyboardInterrupt` while the executor starts: nothing runs yet.
        """
        self.interrupted = True
        if self._is_starting:
            raise KeyboardInterrupt

    def run(self) -> BuildResult:
        """Build until every step is done, no other step can be done, or a fault stops the build."""
        began = time.monotonic()
        try:
            while True:
                self._dispatch()
                if not self._running and (self._is_over or not self._ready):
                    break
                self._wait()
        except RunStopped as stopped:  # the executor itself failed
            self._stopped = str(stopped)
        finally:
            if self._started:
                self.executor.close()
        left = sum(t.total - t.done for t in self.tallies)
        return BuildResult(
            tallies=self.tallies, failures=self.failures, stopped=self._stopped, interrupted=self.interrupted,
            num_left=left, shards_without_rows=sorted(self._without_rows), elapsed_s=time.monotonic() - began,
        )  # fmt: skip

    @property
    def _is_over(self) -> bool:
        return self.interrupted or self._stopped is not None

    def _push(self, key: Key, number: int, not_before: float = 0.0) -> None:
        heapq.heappush(self._ready, (not_before, -key[0], number, key))

    def _dispatch(self) -> None:
        """Submit the steps that can start now, those furthest downstream first."""
        held: list[tuple[float, int, int, Key]] = []
        full: set[int] = set()
        while self._ready and not self._is_over:
            entry = heapq.heappop(self._ready)
            key = entry[3]
            if entry[0] > time.monotonic() or key[0] in full:
                held.append(entry)
                continue
            task = self._retries.get(key) or Task(
                stage=key[0], shard=key[1], input_digest=input_digest(self.plan, key, self._outputs)
            )
            record = None if key in self._retries else self._done.find(key, task.input_digest)
            if record is not None:
                self._complete(task, record, cached=True)
            elif self._has_room(key[0]):
                self._start(task)
            else:
                held.append(entry)
                full.add(key[0])
                if self.executor.slots_anywhere() == 0:
                    break
        for entry in held:
            heapq.heappush(self._ready, entry)

    def _has_room(self, index: int) -> bool:
        if not self._started:
            self.on_event("executor_starting", {})
            self._is_starting = True
            try:
                self.executor.start(self.plan)
            finally:
                self._is_starting = False
            self._started = True
        most = self.plan.stages[index].run_on.workers
        if most is not None and self.tallies[index].running >= most:
            return False
        return self.executor.slots(index) > 0

    def _start(self, task: Task) -> None:
        self._running[task.key] = task
        self.tallies[task.stage].running += 1
        self.on_event("started", {**self._names(task), "attempt": task.attempt})
        self.executor.submit(task)

    def _wait(self) -> None:
        if not self._running and self._ready:
            pause = min(e[0] for e in self._ready) - time.monotonic()
            if pause > 0:  # only retries are left, and all of them are later
                time.sleep(min(pause, POLL_S))
                return
        for outcome in self.executor.wait(POLL_S):
            task = outcome.task
            del self._running[task.key]
            self.tallies[task.stage].running -= 1
            if outcome.record is not None:
                self._complete(task, outcome.record, cached=False)
            else:
                self._fail(outcome)
        before, self._waits_for = self._waits_for, self.executor.waiting()
        if self._waits_for and self._waits_for != before:
            self.on_event("waiting", {"message": self._waits_for})
        self.on_event("tick", {})

    def _complete(self, task: Task, record: Record, *, cached: bool) -> None:
        tally = self.tallies[task.stage]
        tally.done += 1
        tally.cached += cached
        if task.shard == ALL_SHARDS and isinstance(self.plan.stages[task.stage].stage, SinkStage):
            tally.seconds += record.duration_s  # its rows are those of the sink's other steps
        else:
            tally.add(record)
        self._note_output(task.key, record)
        self.on_event(
            "cached" if cached else "done",
            {**self._names(task), "rows_in": record.rows_in, "rows_out": record.rows_out, "rejects": record.rejects,
             "duration_s": record.duration_s, "worker": record.worker},
        )  # fmt: skip
        if task.shard == ALL_SHARDS and self.plan.stages[task.stage].has_rows:
            self._note_verdicts(task)
        for number, dependent in enumerate(self._dependents.get(task.key, ())):
            self._waiting[dependent] -= 1
            if self._waiting[dependent] == 0:
                self._push(dependent, number)

    def _note_verdicts(self, task: Task) -> None:
        """Note the output of a global stage for each shard: it is part of the input digest of later steps."""
        planned = self.plan.stages[task.stage]
        if isinstance(planned.stage, SinkStage):
            return
        for shard in self.plan.shards:
            record = self._folder.record(planned.folder, shard.name)
            if record is not None:
                self._note_output((task.stage, shard.name), record)

    def _note_output(self, key: Key, record: Record) -> None:
        self._outputs[key] = record.output_digest
        if key[0] == self._last and key[1] != ALL_SHARDS and not record.rows_out:
            self._without_rows.add(key[1])

    def _fail(self, outcome: Outcome) -> None:
        task = outcome.task
        self.on_event(
            "failed",
            {**self._names(task), "attempt": task.attempt, "failure": outcome.failure, "message": outcome.message},
        )
        decision = self._attempts.after(outcome)
        if decision.again is not None:
            self._retry(decision.again, decision.delay_s)
        elif decision.stops_build:
            self._stopped = self._stopped or decision.message
        else:
            self.failures[task.key] = decision.message
            self.tallies[task.stage].failed += 1
            if len(self.failures) >= self.plan.manifest.run_on.max_failed_shards:
                self._stopped = self._stopped or f"{len(self.failures)} shards failed (max_failed_shards)"

    def _retry(self, again: Task, delay_s: float = 0.0) -> None:
        self._retries[again.key] = again
        self._push(again.key, 0, time.monotonic() + delay_s)

    def _names(self, task: Task) -> dict[str, object]:
        return {"stage": self.plan.stages[task.stage].name, "shard": task.shard}
