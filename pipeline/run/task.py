"""A task, one attempt at one step, and its outcome: the values that builds, executors and workers exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.plan.fingerprint import SHOWN_DIGITS
from pipeline.run.suspects import NO_SUSPECTS, Suspects

if TYPE_CHECKING:
    from pipeline.rounds import Over
    from pipeline.run.suspects import Span
    from pipeline.store.records import Record

FailureKind = Literal["retry", "memory", "lost", "preempted", "shard", "stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundStep:
    """The place of a step in the rounds of its stage."""

    number: int
    """Of the round."""
    index: int
    """Of the step in the round: the part that it works on, or the group of shards."""
    over: Over
    is_last: bool
    """True in the round that gives the verdicts on shards."""
    shards: tuple[int, int]
    """With `over="shards"`: number of its first shard, and number after its last."""
    num_parts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One attempt at one stage on one shard, or on all shards, with the digest of the input."""

    stage: int
    shard: str
    input_digest: str
    round: RoundStep | None = None
    """For a step of a round; `shard` is a name that no shard has then."""
    attempt: int = 1
    halvings: int = 0
    """Attempts that ran out of memory: each halves the rows that the stage gets at a time."""
    suspects: Suspects = NO_SUSPECTS
    """Rows at which earlier attempts lost a worker."""
    has_leftovers: bool = False
    """True when files of an earlier input, or of a killed build, may be in the place of those of this step."""

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
    verdicts: tuple[Record, ...] = ()
    """Records of the shards on which a step over several shards gave its verdict."""
    failure: FailureKind | None = None
    message: str = ""
    at: Span | None = None
    """With `lost`: the rows that the stage's function was working on, where they are known."""
    why: str = ""
    """With `lost`: the cause, for the detail of a reject."""
    is_overdue: bool = False
    """With `lost`: true when the worker was alive and took too long."""


def run_name(input_digest: str) -> str:
    """Name of the folder of what the rounds of a stage send to each other for that input."""
    return input_digest[:SHOWN_DIGITS]
