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
from pipeline.run.ray_cluster import find_cluster, keep_sigterm_handler
from pipeline.run.ray_deadlines import TaskClock
from pipeline.run.ray_pools import Pools, PoolWaits
from pipeline.run.suspects import Announcer
from pipeline.run.task import Outcome
from pipeline.run.worker import Worker

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.run.suspects import Span
    from pipeline.run.task import Task
    from pipeline.store.storage import Storage

CLOSE_TIMEOUT_S = 10.0
NODE_CHECK_S = 2.0
GROW_CHECK_S = 5.0
OBJECT_STORE_BYTES = 128 << 20
"""Bytes of Ray's shared memory on this machine: enough for plans and records, as no rows pass through it."""


class RayWorker:
    """The actor: a `Worker`, and a second thread that answers while a task runs."""

    def __init__(self, plan: Plan, storage: Storage) -> None:
        import pyarrow as pa

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

    @property
    def is_ready(self) -> bool:
        return self.hello is None


class RayExecutor:
    """Runs tasks on a local Ray or on the cluster at `address`."""

    def __init__(self, storage: Storage, workers: int | None = None, address: str | None = None) -> None:
        self._storage, self._workers, self._address = storage, workers, address
        self._actors: list[_Actor] = []
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
            with keep_sigterm_handler():
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
        ).remote(self._plan, self._storage)  # fmt: skip
        self._actors.append(_Actor(handle, pool, hello=handle.hello.remote()))

    def _idle(self, pool: str | None) -> list[_Actor]:
        return [a for a in self._actors if a.is_ready and a.clock is None and pool in (None, a.pool)]

    def slots(self, stage: int) -> int:
        """Number of idle actors in the stage's pool."""
        return len(self._idle(self._pools.of(stage)))

    def slots_anywhere(self) -> int:
        """Number of idle actors."""
        return len(self._idle(None))

    def submit(self, task: Task) -> None:
        """Give the task to an idle actor of its stage's pool."""
        actor = self._idle(self._pools.of(task.stage))[0]
        actor.key = f"editloom-{uuid.uuid4().hex}".encode()
        actor.ref, actor.asked = actor.handle.run.remote(task, actor.key), None
        actor.clock = TaskClock.start(task, self._plan.manifest.run_on, time.monotonic())

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes of tasks that ended, and of those whose worker died, does not answer or is late."""
        refs = [a.ref for a in self._actors if a.clock] + [a.hello for a in self._actors if not a.is_ready]
        try:
            return self._collect(refs, timeout_s)
        except self._ray.exceptions.RayError as error:
            raise RunStopped(f"Ray failed: {one_line(error, 200)}; run the same command to resume") from error

    def _collect(self, refs: list[Any], timeout_s: float) -> list[Outcome]:
        if refs:
            self._ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
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

    def _is_done(self, ref: Any) -> bool:
        return bool(self._ray.wait([ref], timeout=0, fetch_local=False)[0])

    def _greet(self, actor: _Actor) -> None:
        if not self._is_done(actor.hello):
            return
        try:
            actor.node = self._ray.get(actor.hello)
        except self._ray.exceptions.RayActorError as error:
            self._actors.remove(actor)
            if "__init__" in str(error):  # its constructor raised; otherwise a new actor may start
                raise RunStopped(f"a Ray worker did not start: {one_line(error)}") from error
            self._spawn(actor.pool)
        else:
            actor.hello = None

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
        self._actors.remove(actor)
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
        self._actors = []
        if self._owns_ray:
            self._ray.shutdown()


def ask_cluster(address: str) -> None:
    """Print a line, then return when the cluster's control service has answered."""
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled

    print("asking", flush=True)  # noqa: T201  read by the process that started this one
    GcsClient(address=canonicalize_bootstrap_address_or_die(address))
