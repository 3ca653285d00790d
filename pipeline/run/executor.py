"""Where steps run: in this process, or on Ray. Both run the same `Worker` and give the same results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.run.worker import Outcome, Task


class Executor(Protocol):
    """What the build asks of an executor. A task that was submitted comes back from `wait` exactly once."""

    def start(self, plan: Plan) -> None:
        """Make workers. Called once, before the first `slots`, and only when there is work."""

    def slots(self, stage: int) -> int:
        """How many more tasks of that stage could start now."""

    def slots_anywhere(self) -> int:
        """How many more tasks of any stage could start now."""

    def submit(self, task: Task) -> None:
        """Start a task; there must be a slot for it."""

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Tasks that ended, after at most about `timeout_s`; maybe none."""

    def waiting(self) -> str:
        """A line on what it waits for when that takes long, else empty."""

    def close(self) -> None:
        """Let go of all workers."""
