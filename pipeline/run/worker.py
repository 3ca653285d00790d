"""A worker: it opens each stage once and runs one task at a time. An executor has one or several."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from core.errors import (
    FATAL_ERRNOS,
    EditloomError,
    ShardFailed,
    is_transient,
    one_line,
)
from core.settings import Settings
from pipeline.context import Context
from pipeline.plan.fingerprint import canonical
from pipeline.plan.plugins import load_model
from pipeline.run.gather import Gatherer
from pipeline.run.global_steps import run_global
from pipeline.run.publish import run_publish
from pipeline.run.round_steps import run_round
from pipeline.run.shard_steps import run_batches, run_sink, run_source
from pipeline.run.step import Step
from pipeline.run.suspects import ignore_span
from pipeline.run.task import Outcome
from pipeline.stage import GlobalStage
from pipeline.store.answer_cache import AnswerCache
from pipeline.store.folder_store import FolderStore
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import ANSWERS, STORE, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.plan.plan import Plan
    from pipeline.run.suspects import Span
    from pipeline.run.task import FailureKind, Task
    from pipeline.stage import Shard
    from pipeline.store.records import Record
    from pipeline.store.storage import Storage


class Worker:
    """Runs tasks, one at a time. A stage is opened for its first task and stays open."""

    def __init__(self, plan: Plan, storage: Storage) -> None:
        self.plan, self.storage = plan, storage
        self._opened: dict[tuple[int, bool], tuple[Callable[..., Any], Context]] = {}
        self._models: dict[str, Any] = {}
        self._shared: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._rows = 0
        self.announce: Callable[[Span | None], None] = ignore_span
        """Called with the rows that the stage's function starts to work on. Executors that can kill a worker set it."""

    def beat(self, rows: int) -> None:
        """Count rows done, so that `pulse` grows."""
        with self._lock:
            self._rows += rows

    def pulse(self) -> int:
        """A number that grows while work is done."""
        with self._lock:
            return self._rows

    def run(self, task: Task) -> Outcome:
        """Run the task. Every exception becomes an outcome that names stage and shard."""
        planned = self.plan.stages[task.stage]
        self.beat(1)
        try:
            record, verdicts = self._dispatch(task)
            return Outcome(task=task, record=record, verdicts=verdicts)
        except Exception as error:  # noqa: BLE001  the one place that adds stage and shard to any error
            self.storage.forget_recent()
            kind, text = classify(error)
            where = f"stage {planned.name}, shard {task.shard}"
            return Outcome(task=task, failure=kind, message=text if text.startswith(where) else f"{where}: {text}")

    def _dispatch(self, task: Task) -> tuple[Record, tuple[Record, ...]]:
        planned = self.plan.stages[task.stage]
        step = Step(
            plan=self.plan, planned=planned, task=task, folder=RunFolder(self.storage),
            open=partial(self.open, task.stage), read_source=self.read_source, beat=self.beat, announce=self.announce,
        )  # fmt: skip
        if task.round is not None:
            return run_round(step, task.round)
        if isinstance(planned.stage, GlobalStage):
            return run_global(step)
        if task.shard == ALL_SHARDS:
            return run_publish(step), ()
        runners = {"source": run_source, "map": run_batches, "expand": run_batches, "sink": run_sink}
        return runners[planned.stage.kind](step), ()

    def open(self, index: int, *, is_rereading: bool = False) -> tuple[Callable[..., Any], Context]:
        """The stage's function and context, opened once. A source is opened again for stages that reread its rows."""
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
                answers=AnswerCache(self.storage, f"{ANSWERS}/{planned.name}"),
                is_rereading=is_rereading,
                shared=self._shared.setdefault(index, {}),
                gatherer=Gatherer(self.plan, self.storage, planned) if planned.gathered else None,
                loader=partial(self._load, placement=planned.run_on.placement),
            )
            self._opened[key] = (planned.stage.open(ctx), ctx)
        return self._opened[key]

    def _load(self, protocol: str, model_id: str, *, placement: dict[str, Any], **settings: Any) -> Any:
        """The model, made once for all stages of this worker that need it with the same placement and settings.

        Its network is in memory once whatever they are, as far as they do not change its weights (`models.shared`).
        """
        plain = {
            name: value.model_dump(mode="json") if isinstance(value, Settings) else value
            for name, value in settings.items()
        }
        key = canonical([protocol, model_id, placement, plain])
        if key not in self._models:
            self._models[key] = load_model(protocol, model_id, placement=placement, **settings)
        return self._models[key]

    def _artifact(self, index: int) -> Any:
        planned = self.plan.stages[index]
        assert isinstance(planned.stage, GlobalStage)
        return self.storage.fetch(f"{planned.folder}/artifact/{planned.stage.artifact}", self.storage.scratch())

    def read_source(self, shard: Shard) -> Iterator[pa.Table]:
        """Rows of the input shard as the source stage made them, rejected ones included."""
        function, _ = self.open(0, is_rereading=True)
        stream: Iterator[pa.Table] = function(shard)
        return stream


def classify(error: Exception) -> tuple[FailureKind, str]:
    """The kind of failure that an exception is, and one line about it."""
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
