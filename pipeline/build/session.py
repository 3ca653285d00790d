"""One build from lock to summary: what `editloom build` does around `pipeline.build.build.Build`."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.errors import PlanError, RunStopped
from core.strict_json import State
from pipeline.build.build import Build, BuildResult
from pipeline.build.funnel import few_left, why_empty
from pipeline.build.inspect import wrong_files
from pipeline.build.progress import Progress
from pipeline.run.global_steps import summarise
from pipeline.run.worker import Worker
from pipeline.stage import SinkStage, SourceStage
from pipeline.store.events import EventLog
from pipeline.store.lock import hold
from pipeline.store.records import ALL_SHARDS, read_record, record_path
from pipeline.store.storage import DATASET, PLAN, STORE
from pipeline.store.tables import read_light
from samples.columns import REJECT_REASON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.run.executor import Executor
    from pipeline.store.storage import Storage

MARK_ALL, MARK_TRANSIENT = b"all", b"transient"
"""What the marker of a shard says that is to be tried again."""


class PlannedShard(State):
    """Shard of an earlier plan."""

    name: str


class EarlierPlan(State):
    """Plan that the run folder was last built by, as far as a later build asks for it."""

    shards: tuple[PlannedShard, ...] = Field(strict=False)


def run_build(
    plan: Plan, storage: Storage, *, executor: str, workers: int | None = None, address: str | None = None,
    quiet: bool = False,
) -> BuildResult:  # fmt: skip
    """Build while holding the lock. The first Ctrl-C lets shards in flight end; the second leaves at once."""
    runs_on = _executor(executor, storage, workers, address)
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # Ray and stages print; stdout is for the result
        lock = stack.enter_context(hold(storage))
        stack.callback(storage.close)
        storage.clear_scratch()
        _refuse_to_shrink(plan, storage)
        storage.write_bytes(PLAN, json.dumps(plan_record(plan), indent=1).encode())
        log = stack.enter_context(EventLog(storage))

        def listen(event: str, fields: dict[str, object]) -> None:
            if event == "tick":
                lock.renew()
                progress.tick()
                return
            log.write(event, fields)
            if event in ("failed", "waiting"):
                progress.say(str(fields["message"]))

        build = Build(plan, storage, runs_on, listen)
        progress = stack.enter_context(Progress(plan, build.tallies, quiet=quiet))
        stack.enter_context(_draining(build.interrupt, progress.say))
        log.write("build_started", {"executor": executor, "shards": len(plan.shards)})
        result = build.run()
        log.write("build_ended", {"ok": result.ok, "stopped": result.stopped, "left": result.num_left})
    return result


def _refuse_to_shrink(plan: Plan, storage: Storage) -> None:
    """Keep a trial run with --limit from replacing the dataset of a larger build."""
    earlier = storage.read_state(PLAN, EarlierPlan)
    before = {shard.name for shard in earlier.shards} if earlier is not None else set()
    if plan.is_limited and before > {s.name for s in plan.shards}:
        raise PlanError(
            f"{plan.out} holds a build of {len(before)} shards, which --limit {len(plan.shards)} would replace; "
            "give the trial another --out"
        )


def _executor(name: str, storage: Storage, workers: int | None, address: str | None) -> Executor:
    if name == "inprocess":
        from pipeline.run.inprocess import InProcessExecutor

        if workers not in (None, 1) or address:
            raise PlanError("the inprocess executor has one worker and no address; use --executor ray")
        return InProcessExecutor(storage)
    from pipeline.run.ray import RayExecutor

    return RayExecutor(storage, workers, address)


@contextmanager
def _draining(interrupt: Callable[[], None], say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `interrupt()`, the second into KeyboardInterrupt."""
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del frame
        if asked:
            raise KeyboardInterrupt
        asked = True
        interrupt()
        say(f"{signal.Signals(number).name}: no new shard is started, those in flight end first; again to leave now")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, kept with the run."""
    return {
        "manifest": plan.manifest.plain(),
        "stages": [
            {"stage": s.name, "fingerprint": s.fingerprint, "folder": s.folder, "models": _models(s)}
            for s in plan.stages
        ],
        "shards": [{"name": s.name, "uri": s.uri, "identity": s.identity, "part": s.part} for s in plan.shards],
    }


def _models(planned: PlannedStage) -> dict[str, dict[str, str | None]]:
    return {name: model.model_dump() for name, model in planned.models.items()}


def build_summary(plan: Plan, result: BuildResult) -> dict[str, Any]:
    """What a build did, as plain data: the same for a person and for `--json`."""
    stages = [
        {
            "stage": planned.name, "done": t.done, "total": t.total, "cached": t.cached, "failed": t.failed,
            "rows_in": t.rows_in, "rows_kept": t.rows_kept, "rows_out": t.rows_out,
            "rejects": dict(sorted(t.rejects.items())), "notes": dict(sorted(t.notes.items())),
            "worker_s": round(t.seconds, 2),
        }
        for planned, t in zip(plan.stages, result.tallies, strict=True)
    ]  # fmt: skip
    failures = [
        {"stage": plan.stages[index].name, "shard": shard, "cause": message}
        for (index, shard), message in sorted(result.failures.items())
    ]
    empty = why_empty(stages) if result.ok else None
    ends_in_dataset = isinstance(plan.stages[-1].stage, SinkStage)
    return {
        "ok": result.ok and (not empty or plan.manifest.allow_empty),
        "empty": empty,
        "few_left": few_left(stages) if result.ok and not empty else None,
        "barren_shards": result.barren if result.ok and not empty else [],
        "num_shards": len(plan.shards),
        "manifest": plan.manifest.name,
        "out": plan.out,
        "dataset": f"{plan.out.rstrip('/')}/{DATASET}" if result.ok and ends_in_dataset else None,
        "nothing_to_do": result.ok and all(t.cached == t.total for t in result.tallies),
        "interrupted": result.interrupted,
        "stopped": result.stopped,
        "failures": failures,
        "steps_left": result.num_left,
        "stages": stages,
        "elapsed_s": round(result.elapsed_s, 2),
    }


def mark_retries(plan: Plan, storage: Storage, *, everything: bool = False) -> dict[str, int]:
    """Have the next build try again what the source could not fetch: rows rejected for a `retryable` reason, or all.

    Returns rows by shard, those included that were marked before and not built since. Raises `PlanError` for a source
    that fetches nothing.
    """
    planned = plan.stages[0]
    assert isinstance(planned.stage, SourceStage)
    if not planned.stage.retryable:
        raise PlanError(f"source {planned.name} fetches nothing, so there is nothing to try again")
    standing = storage.sizes(f"{planned.folder}/{STORE}")
    marked: dict[str, int] = {}
    for shard in plan.shards:
        marker = f"{planned.folder}/{STORE}/{shard.name}.retry"
        record = read_record(storage, planned.folder, shard.name)
        is_marked = record is None and f"{shard.name}.retry" in standing
        wants_all = everything or (is_marked and storage.read_bytes(marker) == MARK_ALL)
        rejects = _rejects_left(planned, storage, shard.name) if record is None else record.rejects
        rows = _num_to_try(planned.stage, rejects, everything=wants_all)
        if is_marked or (record is not None and rows):
            storage.remove(record_path(planned.folder, shard.name))  # before the marker: it must not be used up unseen
            storage.write_bytes(marker, MARK_ALL if wants_all else MARK_TRANSIENT)
            marked[shard.name] = rows
    return marked


def _num_to_try(source: SourceStage, rejects: Mapping[str, int], *, everything: bool) -> int:
    reasons = source.retryable
    if everything:
        reasons = frozenset(reason.value for reason in source.rejects or ()) - source.final
    return sum(count for reason, count in rejects.items() if reason in reasons)


def _rejects_left(planned: PlannedStage, storage: Storage, shard: str) -> Mapping[str, int]:
    """Reasons of the rejects of a shard whose record an earlier mark took away."""
    rel = f"{planned.folder}/{shard}.rejects.parquet"
    if not storage.exists(rel):
        return {}
    return Counter(read_light(storage, rel, [REJECT_REASON])[REJECT_REASON].to_pylist())


def write_report(plan: Plan, storage: Storage, to: Path) -> list[Path]:
    """Let the sink write its pages again into the local folder `to`. Raises `RunStopped` for an unfinished build."""
    planned = plan.stages[-1]
    if not isinstance(planned.stage, SinkStage):
        raise PlanError(f"manifest {plan.manifest.name!r} does not end in a stage that emits a dataset")
    wrong = wrong_files(plan, storage, deep=False)
    if wrong:
        raise RunStopped(f"{plan.out} is not a finished build: {wrong[0]}")
    records = [read_record(storage, planned.folder, s.name) for s in plan.shards]
    filled = [r for r in records if r is not None and r.rows_out and r.shard != ALL_SHARDS]
    to.mkdir(parents=True, exist_ok=True)
    planned.stage.collate(to, summarise(Worker(plan, storage), planned, filled))
    storage.close()
    return sorted(p for p in to.iterdir() if p.is_file())
