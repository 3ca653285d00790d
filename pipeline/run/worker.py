"""A worker: opens each stage once and runs tasks one at a time. Executors hold one in process or one an actor."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from core.errors import (
    FATAL_ERRNOS,
    EditloomError,
    ShardFailed,
    is_transient,
    one_line,
)
from pipeline.plan.fingerprint import canonical
from pipeline.plan.plugins import load_model
from pipeline.run.gather import Gatherer
from pipeline.run.global_steps import run_collate, run_global
from pipeline.run.shard_steps import run_batches, run_sink, run_source
from pipeline.run.suspects import NOBODY, Suspects, unheard
from pipeline.stage import Context, GlobalStage
from pipeline.store.records import ALL_SHARDS, Record
from pipeline.store.storage import STORE, FolderStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.plan.plan import Plan
    from pipeline.run.suspects import Span
    from pipeline.stage import Shard
    from pipeline.store.storage import Storage

FailureKind = Literal["retry", "memory", "lost", "preempted", "shard", "stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One stage on one shard (or on all of them), with the digest of what it will read."""

    stage: int
    shard: str
    input_digest: str
    attempt: int = 1
    halvings: int = 0
    """How often memory ran out before: each halves the rows handed to the stage at a time."""
    suspects: Suspects = NOBODY
    """Rows at which workers were lost before."""

    @property
    def key(self) -> tuple[int, str]:
        """What stays the same from attempt to attempt."""
        return self.stage, self.shard


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a task ended: a record, or a kind of failure and one line about it.

    `retry` a fault of the machine, `memory` the same for want of memory, `lost` the worker died or went silent,
    `preempted` its node went away, `shard` this shard cannot be done, `stop` no further shard should be tried.
    For `lost`, `at` has the rows that the stage's function was working on, where that is known, `why` says it for a
    reject's detail, and `is_overdue` is true when the worker was alive and took too long.
    """

    task: Task
    record: Record | None = None
    failure: FailureKind | None = None
    message: str = ""
    at: Span | None = None
    why: str = ""
    is_overdue: bool = False


class Worker:
    """Runs tasks, one at a time; a stage is opened at its first task and stays open."""

    def __init__(self, plan: Plan, storage: Storage) -> None:
        self.plan, self.storage = plan, storage
        self._opened: dict[tuple[int, bool], tuple[Callable[..., Any], Context]] = {}
        self._models: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._rows = 0
        self.at: Callable[[Span | None], None] = unheard
        """Called with the rows of the shard that the stage's function begins to work on; where an executor can kill."""

    def beat(self, rows: int) -> None:
        """Count work done, so that a watcher sees life."""
        with self._lock:
            self._rows += rows

    def pulse(self) -> int:
        """A number that grows while work is done."""
        with self._lock:
            return self._rows

    def run(self, task: Task) -> Outcome:
        """Do the task; every exception becomes an outcome that names stage and shard."""
        planned = self.plan.stages[task.stage]
        self.beat(1)
        try:
            return Outcome(task=task, record=self._dispatch(task))
        except Exception as error:  # noqa: BLE001  the one place where any error gets its stage and shard
            kind, text = classify(error)
            where = f"stage {planned.name}, shard {task.shard}"
            return Outcome(task=task, failure=kind, message=text if text.startswith(where) else f"{where}: {text}")

    def _dispatch(self, task: Task) -> Record:
        planned = self.plan.stages[task.stage]
        if isinstance(planned.stage, GlobalStage):
            return run_global(self, planned, task)
        if task.shard == ALL_SHARDS:
            return run_collate(self, planned, task)
        runners = {"source": run_source, "map": run_batches, "expand": run_batches, "sink": run_sink}
        return runners[planned.stage.kind](self, planned, task)

    def open(self, index: int, *, is_rereading: bool = False) -> tuple[Callable[..., Any], Context]:
        """The stage's function, opened once, and its context. A source has another one for later stages to read it."""
        key = index, is_rereading
        if key not in self._opened:
            planned = self.plan.stages[index]
            ctx = Context(
                stage_name=planned.name,
                seed=self.plan.manifest.seed,
                device=planned.run_on.device,
                artifacts={name: self._artifact(i) for name, i in planned.artifacts.items()},
                artifact_dir=self.storage.scratch(),
                store=FolderStore(self.storage, f"{planned.folder}/{STORE}"),
                is_rereading=is_rereading,
                gatherer=Gatherer(self.plan, self.storage, planned.gathered) if planned.gathered else None,
                loader=partial(self._load, placement=planned.run_on.placement),
            )
            self._opened[key] = (planned.stage.open(ctx), ctx)
        return self._opened[key]

    def _load(self, protocol: str, model_id: str, *, placement: dict[str, Any], **settings: Any) -> Any:
        """The model, loaded once for all stages of this worker that ask for it in the same words."""
        key = canonical([protocol, model_id, placement, settings])
        if key not in self._models:
            self._models[key] = load_model(protocol, model_id, placement=placement, **settings)
        return self._models[key]

    def _artifact(self, index: int) -> Any:
        planned = self.plan.stages[index]
        assert isinstance(planned.stage, GlobalStage)
        return self.storage.fetch(f"{planned.folder}/artifact/{planned.stage.artifact}", self.storage.scratch())

    def read_source(self, shard: Shard) -> Iterator[pa.Table]:
        """Rows of the input shard as its source stage made them, rejected ones included."""
        function, _ = self.open(0, is_rereading=True)
        stream: Iterator[pa.Table] = function(shard)
        return stream


def classify(error: Exception) -> tuple[FailureKind, str]:
    """What kind of failure an exception is, and one line about it."""
    text = one_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory", text
    if is_transient(error):
        return "retry", text
    if isinstance(error, OSError) and error.errno in FATAL_ERRNOS:
        return "stop", f"{text}; fix the cause and run the same command again"
    if isinstance(error, OSError | ShardFailed):
        return "shard", text
    if isinstance(error, EditloomError):
        return "stop", text
    return "stop", f"{text} (unexpected: a bug in the stage or the engine)"
