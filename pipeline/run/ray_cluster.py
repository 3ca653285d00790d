"""Finds the Ray cluster to use and checks that it answers.

This check comes before any call of Ray, because Ray waits for minutes without an answer and cannot be interrupted.
Imports no Ray.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from core.errors import RunStopped, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S = 10.0
"""Longest wait for a connection to the address, and then for an answer of Ray."""
IMPORT_TIMEOUT_S = 60.0
SOCKET_PATH_BYTES = 107
"""Longest path of a Unix socket."""
POLL_S = 0.1

ASK = "import sys; from pipeline.run.ray import ask_cluster; ask_cluster(sys.argv[1])"


def find_cluster(given: str | None) -> str | None:
    """The address of the cluster to use, after it has answered, or None for a local Ray.

    `given` is the address of the command line; without it, RAY_ADDRESS counts. Raises `RunStopped`.
    """
    address = (given or os.environ.get("RAY_ADDRESS") or "").strip()
    if address in ("", "local"):
        _require_short_folder()
        return None
    origin = "--address" if given else "RAY_ADDRESS"
    why = (_refusal(*_parsed(address, origin)) if address != "auto" else "") or _silence(address)
    if why:
        raise RunStopped(
            f"cannot reach the Ray cluster at {address!r} ({origin}): {why}; start it or correct the address, "
            f"{'leave --address out' if given else 'unset RAY_ADDRESS'} for a local Ray, or use --executor inprocess"
        )
    return address


def _parsed(address: str, origin: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if "://" in address or not bare or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in bare:
        hint = "; run the command on a node of the cluster instead of through ray://" if "://" in address else ""
        raise RunStopped(
            f"{origin} {address!r} is not an address of a Ray cluster: expected HOST:PORT (6379 is Ray's port), "
            f"[IPV6]:PORT, auto or local{hint}"
        )
    return bare, int(port)


def _refusal(host: str, port: int) -> str:
    """Why no connection can be made, or empty. A thread is needed as name look-ups cannot be interrupted."""
    causes: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
            causes.append("")
        except socket.gaierror:
            causes.append(f"the name {host!r} is not known")
        except TimeoutError:
            causes.append(f"no answer within {CONNECT_TIMEOUT_S:g} s")
        except (OSError, UnicodeError) as error:
            causes.append(one_line(error, 160))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    ends = time.monotonic() + CONNECT_TIMEOUT_S + 1
    while thread.is_alive() and time.monotonic() < ends:
        thread.join(POLL_S)
    return causes[0] if causes else f"no answer within {CONNECT_TIMEOUT_S:g} s"


def _silence(address: str) -> str:
    """Why no Ray answers at the address, or empty. A child process asks, since it can be killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(  # noqa: S603  this interpreter, and the address as one argument
        [sys.executable, "-c", ASK, address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            select.select([child.stdout], [], [], IMPORT_TIMEOUT_S)  # it prints a line when it has imported Ray
            _, errors = child.communicate(timeout=CONNECT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"the service there does not answer as Ray within {CONNECT_TIMEOUT_S:g} s"
        finally:
            child.kill()
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return "" if child.returncode == 0 else (lines or ["no answer"])[-1][:200]


def _require_short_folder() -> None:
    """Raise `RunStopped` for a temporary folder whose path is too long for Ray's sockets."""
    name = next((n for n in ("RAY_TMPDIR", "TMPDIR") if n in os.environ), None)
    if name is None:
        return
    folder = os.environ[name]
    inside = f"/ray/session_2000-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
    most = SOCKET_PATH_BYTES - len(inside)
    if len(os.fsencode(folder)) > most:
        raise RunStopped(
            f"{name}={folder} is too long for Ray's sockets ({len(os.fsencode(folder))} bytes, at most {most} fit): "
            "set RAY_TMPDIR to a short folder, such as /tmp, or run with --executor inprocess"
        )


@contextlib.contextmanager
def keep_sigterm_handler() -> Iterator[None]:
    """Restore the SIGTERM handler that Ray replaces. Within the block the signal raises `KeyboardInterrupt`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGTERM, before)
