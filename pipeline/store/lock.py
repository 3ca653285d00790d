"""The lock of a run folder: one build at a time. The lock of a dead process is replaced."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING

from core.errors import LockedError
from core.strict_json import Count, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.store.storage import Storage

LOCK = "run/lock.json"
RENEW_EVERY_S = 60.0
STALE_AFTER_S = 900.0
"""A process on another machine counts as dead when its lock was not renewed for so long."""


class Holder(State):
    """The process that holds the lock, as stated in the lock file."""

    host: str
    pid: Count = 0
    process_started: str | None = None
    """Start time of the process in clock ticks of the system."""
    run_id: str
    since: str = ""
    renewed: float = 0.0
    """Unix time in seconds."""


class Lock:
    """The lock while it is held. Call `renew` at least every few minutes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._holder = Holder(
            host=socket.gethostname(), pid=os.getpid(), process_started=_process_started(os.getpid()),
            run_id=storage.run_id, since=time.strftime("%Y-%m-%d %H:%M:%S"),
        )  # fmt: skip
        self._renewed = 0.0

    def renew(self) -> None:
        """Write the current time into the lock, at most once a minute. Raises `LockedError` when it was taken over."""
        if time.time() - self._renewed > RENEW_EVERY_S:
            holder = read_holder(self._storage) if self._renewed else None
            if holder is not None and holder.run_id != self._storage.run_id:
                raise LockedError(
                    f"{self._storage.url}: {describe(holder)}; this build did not renew its lock in time and lost it"
                )
            self._renewed = time.time()
            now = self._holder.model_copy(update={"renewed": self._renewed})
            self._storage.write_bytes(LOCK, json.dumps(now.model_dump()).encode())


@contextlib.contextmanager
def hold(storage: Storage) -> Iterator[Lock]:
    """Hold the run folder's lock for the block. Raises `LockedError` naming the holder."""
    with _exclusive(storage):
        holder = read_holder(storage)
        if holder is not None and is_alive(holder):
            raise LockedError(f"{storage.url}: {describe(holder)}; wait for it, or build into another OUT")
        lock = Lock(storage)
        lock.renew()
    try:
        yield lock
    finally:
        holder = read_holder(storage)
        if holder is not None and holder.run_id == storage.run_id:  # otherwise another build has taken it over
            storage.remove(LOCK)


def read_holder(storage: Storage) -> Holder | None:
    """The holder in the lock file, or None when there is no lock file or it cannot be read."""
    return storage.read_state(LOCK, Holder)


def is_alive(holder: Holder) -> bool:
    """True unless the holder's process has ended, or runs elsewhere and did not renew its lock in time."""
    if holder.host != socket.gethostname():
        return time.time() - holder.renewed < STALE_AFTER_S
    started = _process_started(holder.pid)
    return started is not None and holder.process_started in (started, None)


def describe(holder: Holder) -> str:
    """One line on who holds the lock."""
    return f"held by process {holder.pid} on {holder.host} since {holder.since}"


def _process_started(pid: int) -> str | None:
    """When the process started, in clock ticks of the system, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:  # noqa: PTH123  not a path of ours
            fields = handle.read().rpartition(")")[2].split()
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):  # noqa: PTH112  not a path of ours
            return None
        return _exists(pid)
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


@contextlib.contextmanager
def _exclusive(storage: Storage) -> Iterator[None]:
    """Let only one process of this machine read and write the lock at a time."""
    if not storage.is_local:
        yield
        return
    import fcntl

    storage.scratch()
    path = storage.path("run")
    os.makedirs(path, exist_ok=True)  # noqa: PTH103  a path of the file system
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
