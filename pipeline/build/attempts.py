"""Decides what follows a failed attempt: another attempt, a failed step, or the end of the build."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.plan.manifest import RunOn
    from pipeline.plan.steps import Key
    from pipeline.run.task import Outcome, Task

BACKOFF_S = 0.5
"""Pause before the second attempt after a fault of the machine; it doubles with each further attempt."""
MAX_PREEMPTIONS = 20
"""Attempts of one step that are not counted because the worker's node left the cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The reaction to a failed attempt: `again`, or `message` as the failure of the step or of the build."""

    again: Task | None = None
    delay_s: float = 0.0
    message: str = ""
    stops_build: bool = False


class Attempts:
    """Decides for all steps of one build, and counts how often the node of a step left."""

    def __init__(self, run_on: RunOn) -> None:
        self._run_on = run_on
        self._preempted: Counter[Key] = Counter()

    def after(self, outcome: Outcome) -> Decision:
        """Decide on the reaction to a failed attempt."""
        task, suspects = outcome.task, outcome.task.suspects
        if outcome.at is not None:
            suspects = suspects.after(outcome.at, outcome.why, is_overdue=outcome.is_overdue)
        if outcome.failure == "preempted" and self._preempted[task.key] < MAX_PREEMPTIONS:
            self._preempted[task.key] += 1
            return Decision(again=task)
        if task.suspects.is_alone(outcome.at):  # the row is at fault: neither this loss nor the one before counts
            is_found = len(suspects.blamed) > len(task.suspects.blamed)
            return Decision(again=replace(task, attempt=max(1, task.attempt - is_found), suspects=suspects))
        if outcome.failure in ("retry", "memory", "lost") and task.attempt < self._run_on.attempts:
            halvings = task.halvings + (outcome.failure in ("memory", "lost"))
            again = replace(task, attempt=task.attempt + 1, halvings=halvings, suspects=suspects)
            return Decision(
                again=again, delay_s=BACKOFF_S * 2 ** (task.attempt - 1) if outcome.failure == "retry" else 0
            )
        if outcome.failure == "stop":
            return Decision(message=outcome.message, stops_build=True)
        tries = f" (attempt {task.attempt} of {self._run_on.attempts})" if task.attempt > 1 else ""
        return Decision(message=outcome.message + tries)
