"""Runs tasks in processes of this machine. It starts in a second, where a local Ray takes several (ADR-0019).

Each worker is a process of its own with a connection to the driver, and has at most one task. Dead, silent and late
workers become outcomes and are replaced; `pipeline.build.attempts` decides what follows. Knows no GPUs: Ray shares them
out among workers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from glob import glob
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import RunStopped, one_line
from core.machine import num_cores
from pipeline.run.deadlines import TaskClock
from pipeline.run.task import Outcome

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.run.suspects import Span
    from pipeline.run.task import Task
    from pipeline.store.storage import Storage

START_TIMEOUT_S = 300.0
EXIT_TIMEOUT_S = 1.0
END_TIMEOUT_S = 5.0
"""Longest wait for a process that was killed."""
LAST_WORDS = 160
"""Most characters of the last line that a process printed."""
MOST_FAILED_STARTS = 3
"""Processes in a row that may be killed before they are ready."""


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    log: str
    """Path of the file with what the process prints."""
    started_at: float
    is_ready: bool = False
    clock: TaskClock | None = None
    """Of the task that runs; None while the worker is idle."""
    at: Span | None = None
    """Rows that the stage's function works on."""
    shard: str = ""
    """Of its latest task."""


class ProcessExecutor:
    """Runs tasks in `workers` processes, by default as many as the cores and the memory serve at once."""

    def __init__(self, storage: Storage, workers: int | None = None) -> None:
        self._storage = storage
        self._num_workers = workers
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._fault: RunStopped | None = None
        """Ends the build at the next `wait`, after the outcomes of the one before."""
        self._free: dict[_Worker, None] = {}
        self._latest: dict[str, _Worker] = {}
        """Shard -> the worker whose latest task was on it: it may have the shard's files in memory."""

    def start(self, plan: Plan) -> None:
        """Start the processes. They import what they need side by side, while the driver goes on."""
        self._plan = plan
        self._setup = bytes(ForkingPickler.dumps((plan, self._storage)))
        try:
            for _ in range(min(self._num_workers or _num_served(plan), max(1, len(plan.shards)))):
                self._spawn()
        except BaseException:
            self.close()
            raise

    def _spawn(self) -> None:
        ours, theirs = Pipe()
        log = self._storage.scratch() / f"worker-{len(self._workers)}-{time.monotonic_ns()}.log"
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": paths}
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  this interpreter
                [sys.executable, "-P", "-m", "pipeline.run.process_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        theirs.close()
        worker = _Worker(process, ours, str(log), time.monotonic())
        self._workers.append(worker)
        sender = threading.Thread(target=_send, args=(ours, self._setup), daemon=True)  # waits until the process reads
        try:
            sender.start()
        except RuntimeError as error:  # as many threads as the system allows
            raise OSError(errno.EAGAIN, str(error)) from None

    def slots(self, stage: int) -> int:
        """Number of idle workers."""
        del stage
        return len(self._free)

    def submit(self, task: Task) -> None:
        """Give the task to an idle worker: the one that worked on the shard last, if it is idle."""
        latest = self._latest.get(task.shard)
        worker = latest if latest in self._free else next(iter(self._free))
        assert worker is not None
        del self._free[worker]
        if self._latest.get(worker.shard) is worker:
            del self._latest[worker.shard]
        worker.shard, self._latest[task.shard] = task.shard, worker
        worker.at, worker.clock = None, TaskClock.start(task, self._plan.manifest.run_on, time.monotonic())
        with contextlib.suppress(OSError):  # it died: `wait` finds that
            worker.connection.send(task)

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes of tasks that ended, and of those whose worker died, does not answer or is late.

        Raises `RunStopped` where workers cannot be started.
        """
        if self._fault is not None:
            raise self._fault
        heard = set(wait([worker.connection for worker in self._workers], timeout_s))
        outcomes: list[Outcome] = []
        for worker in list(self._workers):
            try:
                outcome = self._hear(worker) if worker.connection in heard else None
                if outcome is None and worker.clock is not None:
                    outcome = self._late(worker, worker.clock)
            except RunStopped as stopped:
                self._fault = stopped
                break
            except OSError as error:
                self._fault = RunStopped(f"a worker cannot be started: {one_line(error)}")
                break
            if outcome is not None:
                outcomes.append(outcome)
        if self._fault is not None and not outcomes:
            raise self._fault
        return outcomes

    def _hear(self, worker: _Worker) -> Outcome | None:
        """Take in all messages of a worker. Return the outcome of its task, when it ended or the worker died."""
        outcome: Outcome | None = None
        try:
            while worker.connection.poll():
                kind, value = worker.connection.recv()
                if worker.clock is not None:
                    worker.clock.asked_at = time.monotonic()
                if kind == "at":
                    worker.at = value
                elif kind in ("ready", "done"):
                    outcome, worker.clock, worker.is_ready, self._failed_starts = value, None, True, 0
                    self._free[worker] = None
        except (EOFError, OSError):
            if outcome is None:
                return self._died(worker)
        return outcome

    def _died(self, worker: _Worker) -> Outcome | None:
        """Replace a worker that died. Return the outcome of its task, if it had one."""
        clock, at, was_ready = worker.clock, worker.at, worker.is_ready
        with contextlib.suppress(subprocess.TimeoutExpired):  # its connection ends a moment before it does
            worker.process.wait(EXIT_TIMEOUT_S)
        self._remove(worker)
        status = worker.process.returncode
        how = signal.Signals(-status).name if status is not None and status < 0 else f"exit code {status}"
        why = f"its worker died ({how}){_last_words(worker.log)}"
        self._failed_starts += not was_ready
        if not was_ready and (status is None or status >= 0 or self._failed_starts > MOST_FAILED_STARTS):
            raise RunStopped(f"a worker did not start: {why}; or run with --executor inprocess")
        self._spawn()  # one that was killed from outside may start the next time
        return None if clock is None else self._lost(clock.task, why, at, is_overdue=False)

    def _late(self, worker: _Worker, clock: TaskClock) -> Outcome | None:
        found = clock.overdue(worker.at, time.monotonic())
        if found is None:
            return None
        why, at = found
        self._remove(worker)
        self._spawn()
        return self._lost(clock.task, why, at, is_overdue=True)

    def _lost(self, task: Task, why: str, at: Span | None, *, is_overdue: bool) -> Outcome:
        message = f"stage {self._plan.stages[task.stage].name}, shard {task.shard}: {why}"
        return Outcome(task=task, failure="lost", message=message, at=at, why=why, is_overdue=is_overdue)

    def _remove(self, worker: _Worker) -> None:
        """End a worker's process and forget it."""
        worker.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(END_TIMEOUT_S)
        worker.connection.close()
        self._workers.remove(worker)
        self._free.pop(worker, None)
        if self._latest.get(worker.shard) is worker:
            del self._latest[worker.shard]

    def waiting(self) -> str:
        """Empty: workers of this machine start at once. Raises `RunStopped` for one that does not."""
        late = [w for w in self._workers if not w.is_ready and time.monotonic() - w.started_at > START_TIMEOUT_S]
        if late:
            raise RunStopped(f"a worker did not start within {START_TIMEOUT_S:.0f} s{_last_words(late[0].log)}")
        return ""

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.process.kill()
        for worker in list(self._workers):
            self._remove(worker)


def _send(connection: Connection, message: bytes) -> None:
    with contextlib.suppress(OSError, TypeError):  # it died, and may be closed here: `wait` finds that
        connection.send_bytes(message)


def _num_served(plan: Plan) -> int:
    """Workers that the cores and the memory serve at once, each with the needs of the stage that has most."""
    needs = [planned.stage.needs for planned in plan.stages]
    by_cores = num_cores() / max(1.0, *(need.cpu for need in needs))
    by_memory = _memory_bytes() / max(1, *(need.memory_bytes for need in needs))
    return max(1, int(min(by_cores, by_memory)))


def _memory_bytes() -> int:
    """Memory of this machine, or of the container in which this process runs."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word "max"
            found = min(found, int(Path(limit).read_text(encoding="ascii")))
    return found


def _last_words(log: str) -> str:
    """The last line that a process printed, to follow a message, or empty."""
    try:
        with open(log, "rb") as handle:  # noqa: PTH123  a text path
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - 4096))
            lines = handle.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1].strip()[:LAST_WORDS]}" if lines else ""


def has_gpu() -> bool:
    """True when this machine has a GPU that torch may use: of NVIDIA, of AMD, or that Windows lends to its Linux."""
    devices = [*glob("/dev/nvidia[0-9]*"), *glob("/dev/kfd"), *glob("/dev/dxg")]  # noqa: PTH207  a container may have any
    return bool(devices) and os.environ.get("CUDA_VISIBLE_DEVICES") != ""
