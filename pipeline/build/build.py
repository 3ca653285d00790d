"""The build: gives ready steps to an executor, downstream first, until no step can be done, and writes their records.

Which step is ready is decided in `pipeline.build.schedule`, what counts as done in `pipeline.build.resume`, and what
follows a failure in `pipeline.build.attempts`. Does not open stages and depends on no particular executor.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import RunStopped, one_line
from pipeline.build.attempts import Attempts
from pipeline.build.result import BuildResult, StageTally
from pipeline.build.resume import DoneSteps, verdict_shards
from pipeline.build.schedule import Schedule
from pipeline.plan.steps import Key, steps
from pipeline.run.task import run_name
from pipeline.stage import SinkStage
from pipeline.store.record_log import FLUSH_S, RecordWriter
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import EXCHANGE, WHERE, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.plan.plan import Plan
    from pipeline.run.executor import Executor
    from pipeline.run.task import Outcome, Task
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
        self._retries: list[tuple[float, int, Task]] = []
        self._num_retries = 0
        self._missing: set[Key] = set()
        """Ready steps that are known not to be done."""
        self._attempts = Attempts(plan.manifest.run_on)
        self._running: dict[Key, Task] = {}
        self._storage, self._folder = storage, RunFolder(storage)
        self._records = RecordWriter(storage)
        self._done = DoneSteps(plan, self._folder)
        self._schedule = Schedule(plan, self._done.find)
        self._schedule.on_rounds = self._remove_sent
        self._started = self._is_starting = False
        self._waits_for = ""
        for index, _ in steps(plan):
            self.tallies[index].total += 1

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
            self._take_done()
            while True:
                self._dispatch()
                if not self._running and (self._is_over or not (self._retries or self._has_ready())):
                    break
                self._wait()
        except RunStopped as stopped:  # the executor itself failed
            self._stopped = str(stopped)
        except OSError as error:  # of the run folder
            self._stopped = _fault_of_folder(error)
        finally:
            if self._started:
                self.executor.close()
        self._close_records()
        left = sum(t.total - t.done for t in self.tallies)
        return BuildResult(
            plan=self.plan, tallies=self.tallies, failures=self.failures, stopped=self._stopped,
            interrupted=self.interrupted, num_left=left,
            shards_without_rows=sorted(self._without_rows), elapsed_s=time.monotonic() - began,
        )  # fmt: skip

    @property
    def _is_over(self) -> bool:
        return self.interrupted or self._stopped is not None

    def _has_ready(self) -> bool:
        return any(self._schedule.has_ready(planned.index) for planned in self.plan.stages)

    def _take_done(self) -> None:
        """Note the steps that are done already, stage by stage, so that records of one stage are in memory at a time.

        Steps behind one that has to be done are looked at when they become ready.
        """
        for planned in self.plan.stages:
            missing = []
            while self._schedule.has_ready(planned.index) and not self.interrupted:
                task = self._schedule.pop(planned.index)
                if not self._complete_if_done(task):
                    missing.append(task)
            for task in reversed(missing):
                self._schedule.put_back(task)
                self._missing.add(task.key)
            if self.tallies[planned.index].cached == self.tallies[planned.index].total:
                self._folder.forget(planned.folder)

    def _complete_if_done(self, task: Task) -> bool:
        records = self._done.find(task)
        if records is not None:
            self._complete(task, records, cached=True)
        return records is not None

    def _dispatch(self) -> None:
        """Submit the steps that can start now, those furthest downstream first."""
        self._dispatch_retries()
        while self._dispatch_ready():  # steps that were done already have made others ready
            pass

    def _dispatch_ready(self) -> bool:
        """As `_dispatch`, without retries. Returns True when there were steps that are done already."""
        were_done = False
        for planned in reversed(self.plan.stages):
            starting: list[Task] = []
            while self._schedule.has_ready(planned.index) and not self._is_over:
                task = self._schedule.pop(planned.index)
                if task.key not in self._missing and self._complete_if_done(task):
                    were_done = True
                    continue
                self._missing.add(task.key)
                if self._room(planned.index) <= len(starting):
                    self._schedule.put_back(task)
                    break
                self._missing.discard(task.key)
                starting.append(task)
            if self._is_over:  # since the first of them was looked at
                for task in reversed(starting):
                    self._schedule.put_back(task)
                break
            self._start(planned.folder, starting)
        return were_done

    def _dispatch_retries(self) -> None:
        """Submit the steps whose pause before another attempt is over."""
        late: list[tuple[float, int, Task]] = []
        while self._retries and self._retries[0][0] <= time.monotonic() and not self._is_over:
            entry = heapq.heappop(self._retries)
            if self._room(entry[2].stage) > 0:
                self._start(self.plan.stages[entry[2].stage].folder, [entry[2]])
            else:
                late.append(entry)
        for entry in late:
            heapq.heappush(self._retries, entry)

    def _room(self, index: int) -> int:
        """Number of steps of the stage that can start now. The first call makes the workers."""
        if not self._started:
            self.on_event("executor_starting", {})
            self._is_starting = True
            try:
                self.executor.start(self.plan)
            finally:
                self._is_starting = False
            self._started = True
        most = self.plan.stages[index].run_on.workers
        slots = self.executor.slots(index)
        return slots if most is None else min(slots, most - self.tallies[index].running)

    def _start(self, folder: str, tasks: Sequence[Task]) -> None:
        """Submit tasks of one stage, after the records were removed whose files they may replace."""
        names = [(task.shard, *verdict_shards(self.plan, task)) for task in tasks]
        old = [name for task, own in zip(tasks, names, strict=True) if task.attempt == 1 for name in own]
        self._records.remove(folder, [name for name in old if self._folder.has_record(folder, name)])
        if any(task.shard not in self.plan.shard_numbers for task in tasks):
            self._records.flush()  # steps over several shards read the records of others
        there = self._folder.files(folder) if tasks else ()
        for task, own in zip(tasks, names, strict=True):
            has_leftovers = task.has_leftovers or any(f"{name}.parquet" in there for name in own)
            self._running[task.key] = task
            self.tallies[task.stage].running += 1
            self.on_event("started", {**self._names(task), "attempt": task.attempt})
            self.executor.submit(replace(task, has_leftovers=has_leftovers))

    def _wait(self) -> None:
        if not self._running and self._retries:
            pause = self._retries[0][0] - time.monotonic()
            if pause > 0:  # only retries are left, and all of them are later
                time.sleep(min(pause, POLL_S))
                return
        for outcome in self.executor.wait(POLL_S):
            task = outcome.task
            del self._running[task.key]
            self.tallies[task.stage].running -= 1
            if outcome.record is not None:
                self._record(task, [*outcome.verdicts, outcome.record])
            else:
                self._fail(outcome)
        before, self._waits_for = self._waits_for, self.executor.waiting()
        if self._waits_for and self._waits_for != before:
            self.on_event("waiting", {"message": self._waits_for})
        self._records.flush(older_than_s=FLUSH_S)
        self.on_event("tick", {})

    def _record(self, task: Task, records: Sequence[Record]) -> None:
        """Write the records of a finished step, its own last: from then on the step is done."""
        for record in records:
            self._records.add(self.plan.stages[task.stage].folder, record)
        self._complete(task, records, cached=False)

    def _close_records(self) -> None:
        """Join the records of each stage. Where that fails, the next build joins them."""
        try:
            self._records.close(planned.folder for planned in self.plan.stages)
        except OSError as error:
            self._stopped = self._stopped or _fault_of_folder(error)

    def _complete(self, task: Task, records: Sequence[Record], *, cached: bool) -> None:
        self._schedule.done(task, records)
        self._count(task, records, cached=cached)
        while self._schedule.found:
            self._count(*self._schedule.found.pop(), cached=True)

    def _remove_sent(self, stage: int, digest: str) -> None:
        """Remove what the rounds of a stage sent to each other: at their end all, before them that of other inputs."""
        folder = self.plan.stages[stage].folder
        if not digest:
            self._records.flush()  # first: without a record of their end the rounds are needed again
            self._storage.remove(f"{folder}/{EXCHANGE}")
            return
        for run in self._storage.folders(f"{folder}/{EXCHANGE}"):
            if run != run_name(digest):
                self._storage.remove(f"{folder}/{EXCHANGE}/{run}")
        self._storage.remove(f"{folder}/{WHERE}")
        self._folder.forget(folder)

    def _count(self, task: Task, records: Sequence[Record], *, cached: bool) -> None:
        planned, tally, own = self.plan.stages[task.stage], self.tallies[task.stage], records[-1]
        counted: Sequence[Record] = [own]
        if task.round is not None:
            tally.seconds += own.duration_s
            tally.notes.update(own.notes)
            counted = records[:-1]
        elif own.shard == ALL_SHARDS and isinstance(planned.stage, SinkStage):
            tally.seconds += own.duration_s  # its rows are those of the sink's other steps
            tally.done, tally.cached = tally.done + 1, tally.cached + cached
            counted = []
        for record in counted:
            tally.add(record)
            tally.done, tally.cached = tally.done + 1, tally.cached + cached
        for record in records:
            if task.stage == self._last and record.shard in self.plan.shard_numbers and not record.rows_out:
                self._without_rows.add(record.shard)
        self.on_event(
            "cached" if cached else "done",
            {**self._names(task), "rows_in": own.rows_in, "rows_out": own.rows_out, "rejects": own.rejects,
             "duration_s": own.duration_s, "worker": own.worker},
        )  # fmt: skip

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
        self._num_retries += 1
        again = replace(again, has_leftovers=True)
        heapq.heappush(self._retries, (time.monotonic() + delay_s, self._num_retries, again))

    def _names(self, task: Task) -> dict[str, object]:
        return {"stage": self.plan.stages[task.stage].name, "shard": task.shard}


def _fault_of_folder(error: OSError) -> str:
    return f"{one_line(error)}; fix the cause and run the same command again"
