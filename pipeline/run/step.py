"""A step as the functions that run it get it: the task, the opened stage, the files, and two callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.run.rows import ShardRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.context import Context
    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.run.suspects import Span
    from pipeline.run.task import Task
    from pipeline.stage import Shard
    from pipeline.store.run_folder import RunFolder
    from pipeline.store.storage import Storage


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step to run: the stage `planned` of `plan` on the shard of `task`, or on all shards."""

    plan: Plan
    planned: PlannedStage
    task: Task
    folder: RunFolder
    open: Callable[[], tuple[Callable[..., Any], Context]]
    """Gives the stage's function and its context; the worker opens a stage once."""
    read_source: Callable[[Shard], Iterator[pa.Table]]
    """Reads an input shard again: rows as the source stage made them."""
    beat: Callable[[int], None]
    """Call it with the number of rows done, so that the worker counts as alive."""
    announce: Callable[[Span | None], None]
    """Call it with the rows that the stage's function starts to work on."""

    @property
    def storage(self) -> Storage:
        """The storage of the run folder."""
        return self.folder.storage

    def rows(self, shard: str) -> ShardRows:
        """The rows of a shard that reach the stage."""
        return ShardRows(self.plan, self.storage, self.planned, shard, self.read_source)
