"""The executor protocol: where tasks run. All executors run the same `Worker` and give the same results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.run.task import Outcome, Task


class Executor(Protocol):
    """Runs tasks for a build. `wait` returns each submitted task exactly once."""

    def start(self, plan: Plan) -> None:
        """Make workers. Called once, before `slots`, and only when there is work."""

    def slots(self, stage: int) -> int:
        """Number of further tasks of that stage that could start now."""

    def submit(self, task: Task) -> None:
        """Start a task. It needs a free slot."""

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes of tasks that ended, after at most about `timeout_s`. There may be none."""

    def waiting(self) -> str:
        """One line about a long wait for workers, or empty when there is none."""

    def close(self) -> None:
        """End all workers."""
