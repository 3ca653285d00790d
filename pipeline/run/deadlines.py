"""Deadlines of a running task: when its worker counts as lost, and whether one row is the cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.plan.manifest import RunOn
    from pipeline.run.suspects import Span
    from pipeline.run.task import Task


@dataclass(kw_only=True)
class TaskClock:
    """Times of one running task. All times are of `time.monotonic`, in seconds."""

    task: Task
    run_on: RunOn
    started_at: float
    asked_at: float
    """When the worker was last asked whether it is alive."""
    at: Span | None = None
    """Rows that the worker was working on at the last look."""
    at_since: float = 0.0
    looked_at: float = 0.0

    @classmethod
    def start(cls, task: Task, run_on: RunOn, now: float) -> TaskClock:
        """The clock of a task that starts now."""
        return cls(task=task, run_on=run_on, started_at=now, asked_at=now, at_since=now)

    def overdue(self, at: Span | None, now: float) -> tuple[str, Span | None] | None:
        """Why the worker counts as lost, and the rows to blame; None while it does not. `at` are the rows in work."""
        if self.task.suspects and (late := self.late_row(at, now)):
            return late, at
        if late := self.late_task(now):
            # a suspected row that runs alone has its own deadline, which it has not passed
            return late, None if self.task.suspects.is_alone(at) else at
        if late := self.late_answer(now):
            return late, at
        return None

    def late_row(self, at: Span | None, now: float) -> str | None:
        """Why the worker counts as lost at a suspected row that runs alone, or None while it does not.

        The time of such a row does not count for the shard's deadline.
        """
        looked_at, self.looked_at = self.looked_at, now
        if at != self.at or not self.task.suspects.is_alone(at):
            self.at, self.at_since = at, now
            return None
        self.started_at += now - looked_at
        deadline_s = min(self.run_on.row_deadline_s, self.run_on.deadline_s)
        if now - self.at_since <= deadline_s:
            return None
        return f"ran past {deadline_s:g} s on one row alone (row_deadline_s)"

    def late_task(self, now: float) -> str | None:
        """Why the worker counts as lost when the task passed its deadline, or None while it has not."""
        if now - self.started_at <= self.run_on.deadline_s:
            return None
        return f"ran past its deadline of {self.run_on.deadline_s:g} s (deadline_s)"

    def late_answer(self, now: float) -> str | None:
        """Why the worker counts as lost when it has not answered, or None while there is time."""
        if now - self.asked_at <= self.run_on.heartbeat_s:
            return None
        return f"no sign of life for {self.run_on.heartbeat_s:g} s (heartbeat_s)"

    def is_time_to_ask(self, now: float) -> bool:
        """True when the worker should be asked again whether it is alive."""
        return now - self.asked_at > self.run_on.heartbeat_s / 4
