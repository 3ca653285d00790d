"""One guarded build: it holds the lock, logs events, shows progress and handles signals around `Build`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from core.errors import PlanError
from pipeline.build.build import Build
from pipeline.build.plan_file import refuse_to_shrink, write_plan
from pipeline.build.portions import build_portions
from pipeline.build.progress import Progress
from pipeline.run.processes import has_gpu
from pipeline.store.events import EventLog
from pipeline.store.lock import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from pipeline.build.result import BuildResult
    from pipeline.plan.plan import Plan
    from pipeline.run.executor import Executor
    from pipeline.store.lock import Lock
    from pipeline.store.storage import Storage


def run_build(
    plan: Plan, storage: Storage, *, executor: str, workers: int | None = None, address: str | None = None,
    quiet: bool = False,
) -> BuildResult:  # fmt: skip
    """Build while holding the lock. At the first Ctrl-C running steps finish, and the second one exits at once."""

    def new_executor() -> Executor:
        return _executor(executor, plan, storage, workers, address)

    new_executor()  # refuses what it cannot do before the folder is touched
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # Ray and stages print; stdout has only the result
        lock = stack.enter_context(hold(storage))
        stack.callback(storage.close)
        storage.clear_scratch()
        refuse_to_shrink(plan, storage)
        log = stack.enter_context(EventLog(storage))
        log.write("build_started", {"executor": executor, "shards": len(plan.shards)})

        def run_once(part: Plan) -> BuildResult:
            write_plan(part, storage)
            return _run_once(part, storage, new_executor(), lock, log, quiet=quiet)

        result = build_portions(plan, storage, run_once)
        log.write("build_ended", {"ok": result.ok, "stopped": result.stopped, "left": result.num_left})
    return result


def _run_once(
    plan: Plan, storage: Storage, executor: Executor, lock: Lock, log: EventLog, *, quiet: bool
) -> BuildResult:
    def on_event(event: str, fields: dict[str, object]) -> None:
        if event == "tick":
            lock.renew()
            progress.tick()
            return
        log.write(event, fields)
        if event in ("failed", "waiting"):
            progress.say(str(fields["message"]))

    build = Build(plan, storage, executor, on_event)
    with (
        Progress(plan.manifest.name, build.tallies, quiet=quiet) as progress,
        _interruptible(build.interrupt, progress.say),
    ):
        return build.run()


def _executor(name: str, plan: Plan, storage: Storage, workers: int | None, address: str | None) -> Executor:
    if name == "inprocess":
        from pipeline.run.inprocess import InProcessExecutor

        if workers not in (None, 1) or address:
            raise PlanError("the inprocess executor has one worker and no address; use --executor ray")
        return InProcessExecutor(storage)
    if name == "processes" or (name == "auto" and not _wants_ray(plan, address)):
        from pipeline.run.processes import ProcessExecutor

        if address:
            raise PlanError("the processes executor has workers on this machine only; use --executor ray")
        return ProcessExecutor(storage, workers)
    from pipeline.run.ray import RayExecutor

    return RayExecutor(storage, workers, address)


def _wants_ray(plan: Plan, address: str | None) -> bool:
    """True for a cluster that is named, and on a machine with GPUs, which Ray shares out among workers."""
    names_cluster = address or os.environ.get("RAY_ADDRESS", "").strip() not in ("", "local")
    return bool(names_cluster) or (has_gpu() and any(planned.stage.needs.gpu for planned in plan.stages))


@contextmanager
def _interruptible(interrupt: Callable[[], None], say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `interrupt()`, the second into `KeyboardInterrupt`."""
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del frame
        if asked:
            raise KeyboardInterrupt
        asked = True
        interrupt()
        say(f"{signal.Signals(number).name}: no new step starts and running ones finish; repeat it to exit at once")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
