"""One worker in this process: for tests, debugging and small jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.run.worker import Worker

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.run.task import Outcome, Task
    from pipeline.store.storage import Storage


class InProcessExecutor:
    """Runs each task in `wait`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._worker: Worker | None = None
        self._task: Task | None = None

    def start(self, plan: Plan) -> None:
        """Make the one worker."""
        self._worker = Worker(plan, self._storage)

    def slots(self, stage: int) -> int:
        """One when nothing is submitted."""
        del stage
        return int(self._task is None)

    def submit(self, task: Task) -> None:
        """Remember the task for `wait`."""
        self._task = task

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Run the submitted task to its end, however long it takes."""
        del timeout_s
        task, self._task = self._task, None
        return [self._worker.run(task)] if task is not None and self._worker is not None else []

    def waiting(self) -> str:
        """Empty: the worker is this process."""
        return ""

    def close(self) -> None:
        """Drop the worker."""
        self._worker = None
