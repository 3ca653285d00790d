"""Runs tasks on long-lived Ray actors. Ray carries the plan, task names and records, never a row.

One pool of actors serves the stages that need no GPU, another the stages that use one. Stages stay open in an actor
with their models loaded (ADR-0002, ADR-0006). An actor has at most one task. Ray itself retries nothing: dead, silent
and late workers become outcomes, and `pipeline.build.attempts` decides what follows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import RunStopped, one_line
from pipeline.run.deadlines import TaskClock
from pipeline.run.lean_arrow import leave_pandas_out
from pipeline.run.ray_cluster import find_cluster, keep_sigterm_handler
from pipeline.run.ray_pools import Pools, PoolWaits
from pipeline.run.suspects import Announcer
from pipeline.run.task import Outcome
from pipeline.run.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.plan.plan import Plan
    from pipeline.run.suspects import Span
    from pipeline.run.task import Task
    from pipeline.store.storage import Storage

CLOSE_TIMEOUT_S = 10.0
NODE_CHECK_S = 2.0
GROW_CHECK_S = 5.0
UNUSED_SERVICES = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start services which a build on one machine does not use. Other versions may lack them."""
OBJECT_STORE_BYTES = 128 << 20
"""Bytes of Ray's shared memory on this machine: enough for plans and records, as no rows pass through it."""


class RayWorker:
    """The actor: a `Worker`, and a second thread that answers while a task runs."""

    def __init__(self, given: tuple[Plan, Storage]) -> None:
        import pyarrow as pa

        plan, storage = given
        leave_pandas_out()
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        self._worker, self._storage = Worker(plan, storage), storage

    def hello(self) -> str:
        """The id of the node it runs on."""
        import ray

        node: str = ray.get_runtime_context().get_node_id()
        return node

    def run(self, task: Task, key: bytes) -> Outcome:
        """Run one task. Ray's own table, which outlives this process, has the rows in work under `key`."""
        import ray
        from ray.experimental.internal_kv import _internal_kv_put

        def announce(span: Span | None) -> None:
            with contextlib.suppress(ray.exceptions.RayError):  # without the announcement, a bad row is found later
                _internal_kv_put(key, b"%d %d" % span if span else b"", overwrite=True)

        self._worker.announce = Announcer(announce, task.suspects)
        return self._worker.run(task)

    def close(self) -> None:
        """Remove the run's files in the temporary folder of this machine."""
        self._storage.close()

    def pulse(self) -> int:
        """A number that grows while work is done. An answer is the heartbeat."""
        return self._worker.pulse()


@dataclass(eq=False)
class _Actor:
    handle: Any
    pool: str
    hello: Any = None
    node: str = ""
    clock: TaskClock | None = None
    """Of the task that runs; None while the actor is idle."""
    ref: Any = None
    asked: Any = None
    key: bytes = b""
    shard: str = ""
    """Of its latest task."""

    @property
    def is_ready(self) -> bool:
        return self.hello is None


class RayExecutor:
    """Runs tasks on a local Ray or on the cluster at `address`."""

    def __init__(self, storage: Storage, workers: int | None = None, address: str | None = None) -> None:
        self._storage, self._workers, self._address = storage, workers, address
        self._actors: list[_Actor] = []
        self._free: dict[str, dict[_Actor, None]] = {}
        """Idle actors by pool."""
        self._latest: dict[str, _Actor] = {}
        """Shard -> the actor whose latest task was on it: it may have the shard's files in memory."""
        self._ended: set[Any] = set()
        """References that had an answer at the latest poll."""
        self._owns_ray = False
        self._is_local = False
        self._nodes_seen = self._grown_at = 0.0

    def start(self, plan: Plan) -> None:
        """Connect (or start a local Ray) and make the actors. Raises `RunStopped` when Ray does not start."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._plan = plan
        self._ray = ray
        self._remote: Any = ray.remote(RayWorker)
        if not ray.is_initialized():
            self._connect()
            self._owns_ray = True
        self._given = ray.put((plan, self._storage))  # once, however many actors there are
        self._pools = Pools(plan, self._workers, ray.cluster_resources())
        self._waits = PoolWaits(self._pools)
        self._grow()

    def _connect(self) -> None:
        address = find_cluster(self._address)
        self._is_local = address is None
        local: dict[str, Any] = {
            "address": "local",  # else Ray joins a cluster that runs on this machine
            "num_cpus": self._workers or os.cpu_count() or 1,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        try:
            with keep_sigterm_handler(), contextlib.nullcontext() if address else _only_what_runs_tasks():
                self._ray.init(
                    **({"address": address} if address else local), log_to_driver=False, logging_level=logging.ERROR,
                    configure_logging=True,
                )  # fmt: skip
        except (ConnectionError, RuntimeError, OSError, ValueError) as error:
            where = f"the Ray cluster at {address!r}" if address else "a local Ray"
            raise RunStopped(f"cannot reach {where}: {one_line(error)}; or run with --executor inprocess") from error

    def _spawn(self, pool: str) -> None:
        needs = self._pools.needs(pool)
        handle = self._remote.options(
            num_cpus=0 if needs.gpu else needs.cpu, num_gpus=needs.gpu, memory=needs.memory_bytes or None,
            max_restarts=0, max_task_retries=0, max_concurrency=2,
        ).remote(self._given)  # fmt: skip
        self._actors.append(_Actor(handle, pool, hello=handle.hello.remote()))

    def _set_free(self, actor: _Actor) -> None:
        self._free.setdefault(actor.pool, {})[actor] = None

    def _remove(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        self._free.get(actor.pool, {}).pop(actor, None)
        if self._latest.get(actor.shard) is actor:
            del self._latest[actor.shard]

    def slots(self, stage: int) -> int:
        """Number of idle actors in the stage's pool."""
        return len(self._free.get(self._pools.of(stage), ()))

    def submit(self, task: Task) -> None:
        """Give the task to an idle actor of its stage's pool: the one that worked on the shard last, if it is idle."""
        free = self._free[self._pools.of(task.stage)]
        latest = self._latest.get(task.shard)
        actor = latest if latest in free else next(iter(free))
        del free[actor]
        if self._latest.get(actor.shard) is actor:
            del self._latest[actor.shard]
        actor.shard, self._latest[task.shard] = task.shard, actor
        actor.key = f"editloom-{uuid.uuid4().hex}".encode()
        actor.ref, actor.asked = actor.handle.run.remote(task, actor.key), None
        actor.clock = TaskClock.start(task, self._plan.manifest.run_on, time.monotonic())

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes of tasks that ended, and of those whose worker died, does not answer or is late."""
        try:
            refs = [a.ref if a.is_ready else a.hello for a in self._actors if a.clock or not a.is_ready]
            return self._collect(refs, timeout_s)
        except self._ray.exceptions.RayError as error:
            raise RunStopped(f"Ray failed: {one_line(error, 200)}; run the same command to resume") from error

    def _collect(self, refs: list[Any], timeout_s: float) -> list[Outcome]:
        if refs:
            self._ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
        self._poll()
        outcomes: list[Outcome] = []
        for actor in list(self._actors):
            if not actor.is_ready:
                self._greet(actor)
            elif actor.clock is not None:
                outcome = self._look(actor, actor.clock)
                if outcome is not None:
                    outcomes.append(outcome)
        self._check_alive()
        return outcomes

    def _poll(self) -> None:
        """Find out which tasks, greetings and signs of life are there: one request for all actors."""
        refs = [ref for a in self._actors for ref in (a.hello, a.ref, a.asked) if ref is not None]
        ended = self._ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)[0] if refs else []
        self._ended = set(ended)

    def _is_done(self, ref: Any) -> bool:
        return ref in self._ended

    def _greet(self, actor: _Actor) -> None:
        if not self._is_done(actor.hello):
            return
        try:
            actor.node = self._ray.get(actor.hello)
        except self._ray.exceptions.RayActorError as error:
            self._remove(actor)
            if "__init__" in str(error):  # its constructor raised; otherwise a new actor may start
                raise RunStopped(f"a Ray worker did not start: {one_line(error)}") from error
            self._spawn(actor.pool)
        else:
            actor.hello = None
            self._set_free(actor)

    def _look(self, actor: _Actor, clock: TaskClock) -> Outcome | None:
        """The outcome of the actor's task, when it ended or its worker is lost."""
        if self._is_done(actor.ref):
            try:
                outcome: Outcome = self._ray.get(actor.ref)
            except self._ray.exceptions.RayError as error:
                why = f"its worker died: {one_line(error, 160)}"
                return self._lost(actor, clock.task, why, self._rows_in_work(actor))
            self._forget(actor.key)
            actor.clock = actor.ref = actor.asked = None
            self._set_free(actor)
            return outcome
        now, suspects = time.monotonic(), clock.task.suspects
        if suspects:
            at = self._rows_in_work(actor)
            if late := clock.late_row(at, now):
                return self._lost(actor, clock.task, late, at, is_overdue=True)
        if late := clock.late_task(now):
            at = self._rows_in_work(actor)
            # a suspected row that runs alone has its own deadline, which it has not passed
            return self._lost(actor, clock.task, late, None if suspects.is_alone(at) else at, is_overdue=True)
        return self._check_answer(actor, clock, now)

    def _check_answer(self, actor: _Actor, clock: TaskClock, now: float) -> Outcome | None:
        """Ask the worker now and then whether it is alive. Return the outcome when it does not answer in time."""
        if actor.asked is None:
            if clock.is_time_to_ask(now):
                actor.asked, clock.asked_at = actor.handle.pulse.remote(), now
        elif self._is_done(actor.asked):
            actor.asked = None
        elif late := clock.late_answer(now):
            return self._lost(actor, clock.task, late, self._rows_in_work(actor), is_overdue=True)
        return None

    def _rows_in_work(self, actor: _Actor) -> Span | None:
        from ray.experimental.internal_kv import _internal_kv_get

        start, _, stop = (_internal_kv_get(actor.key) or b"").partition(b" ")
        return (int(start), int(stop)) if stop else None

    def _forget(self, key: bytes) -> None:
        from ray.experimental.internal_kv import _internal_kv_del

        _internal_kv_del(key)

    def _lost(self, actor: _Actor, task: Task, why: str, at: Span | None, *, is_overdue: bool = False) -> Outcome:
        self._forget(actor.key)
        self._ray.kill(actor.handle, no_restart=True)
        self._remove(actor)
        gone = not any(n["Alive"] for n in self._ray.nodes() if n["NodeID"] == actor.node)
        self._spawn(actor.pool)
        planned = self._plan.stages[task.stage]
        message = f"stage {planned.name}, shard {task.shard}: {'its node left the cluster' if gone else why}"
        if gone:
            return Outcome(task=task, failure="preempted", message=message)
        return Outcome(task=task, failure="lost", message=message, at=at, why=why, is_overdue=is_overdue)

    def _check_alive(self) -> None:
        now = time.monotonic()
        if self._is_local and now - self._nodes_seen > NODE_CHECK_S:
            self._nodes_seen = now
            if not any(node["Alive"] for node in self._ray.nodes()):
                raise RunStopped("the local Ray died (its raylet is gone); run the same command to resume")
        if not self._is_local and now - self._grown_at > GROW_CHECK_S:
            self._grown_at = now
            self._grow()
        for pool in {a.pool for a in self._actors}:
            self._waits.note(pool, now, is_served=any(a.is_ready for a in self._actors if a.pool == pool))

    def _grow(self) -> None:
        """Make missing actors, at the start and after nodes joined. Actors of lost nodes wait for room."""
        for pool, size in self._pools.sizes(self._ray.cluster_resources()).items():
            for _ in range(size - sum(a.pool == pool for a in self._actors)):
                self._spawn(pool)

    def waiting(self) -> str:
        """One line about a pool that has had no worker for a while, or empty when there is none."""
        return self._waits.message(time.monotonic())

    def close(self) -> None:
        """End the actors, and Ray if this executor started it."""
        if not self._storage.is_local and not self._is_local:  # other machines have copies too
            done = [actor.handle.close.remote() for actor in self._actors if actor.is_ready]
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):  # ValueError: there are none
                self._ray.wait(done, num_returns=len(done), timeout=CLOSE_TIMEOUT_S)
        for actor in self._actors:
            self._ray.kill(actor.handle, no_restart=True)
        self._actors, self._free, self._latest = [], {}, {}
        if self._owns_ray:
            self._ray.shutdown()


@contextlib.contextmanager
def _only_what_runs_tasks() -> Iterator[None]:
    """Start a local Ray without its autoscaler, log monitor and dashboard, within the block.

    Ray has no setting for it. Without them it starts in two thirds of the time and ends a second sooner (ADR-0018).
    """
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in UNUSED_SERVICES if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def ask_cluster(address: str) -> None:
    """Print a line, then return when the cluster's control service has answered."""
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled

    print("asking", flush=True)  # noqa: T201  read by the process that started this one
    GcsClient(address=canonicalize_bootstrap_address_or_die(address))
