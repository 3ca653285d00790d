"""A task, one attempt at one step, and its outcome: the values that builds, executors and workers exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.run.suspects import NO_SUSPECTS, Suspects

if TYPE_CHECKING:
    from pipeline.run.suspects import Span
    from pipeline.store.records import Record

FailureKind = Literal["retry", "memory", "lost", "preempted", "shard", "stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One attempt at one stage on one shard, or on all shards, with the digest of the input."""

    stage: int
    shard: str
    input_digest: str
    attempt: int = 1
    halvings: int = 0
    """Attempts that ran out of memory: each halves the rows that the stage gets at a time."""
    suspects: Suspects = NO_SUSPECTS
    """Rows at which earlier attempts lost a worker."""

    @property
    def key(self) -> tuple[int, str]:
        """The step: equal for all attempts at it."""
        return self.stage, self.shard


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a task: a record, or a kind of failure and one line about it.

    `retry`: a fault of the machine. `memory`: out of memory. `lost`: the worker died or does not answer. `preempted`:
    the worker's node left the cluster. `shard`: this shard cannot be processed. `stop`: no further step should start.
    """

    task: Task
    record: Record | None = None
    failure: FailureKind | None = None
    message: str = ""
    at: Span | None = None
    """With `lost`: the rows that the stage's function was working on, where they are known."""
    why: str = ""
    """With `lost`: the cause, for the detail of a reject."""
    is_overdue: bool = False
    """With `lost`: true when the worker was alive and took too long."""
