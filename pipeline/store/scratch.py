"""The folder for temporary files of a run with a remote run folder, shared by its processes on one machine.

A process locks a file in the folder while it lives. However it ends, the lock is gone then: so the next run on the
machine finds and removes the folders of dead runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "editloom-"
IN_USE = ".in-use"


class Scratch:
    """The folder `<temporary folder>/editloom-<run id>`."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._held: IO[bytes] | None = None

    def folder(self) -> Path:
        """Create the folder if needed and mark it as used. The first call also removes folders of dead runs."""
        path = _parent() / f"{PREFIX}{self._run_id}"
        if self._held is None:
            remove_dead()
        while not self._is_held(path / IN_USE):
            self._release()
            path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another process removed it in between
                self._held = (path / IN_USE).open("ab")
                with contextlib.suppress(OSError):  # a file system without locks: then no run counts as dead
                    fcntl.flock(self._held, fcntl.LOCK_SH)
        return path

    def remove(self) -> None:
        """Remove the folder, also if other processes use it."""
        self._release()
        shutil.rmtree(_parent() / f"{PREFIX}{self._run_id}", ignore_errors=True)

    def _is_held(self, file: Path) -> bool:
        try:
            return self._held is not None and os.path.samestat(file.stat(), os.fstat(self._held.fileno()))
        except FileNotFoundError:
            return False

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def remove_dead() -> None:
    """Remove the folders of runs without a living process on this machine. Other users' folders stay."""
    for file in _parent().glob(f"{PREFIX}*/{IN_USE}"):
        with contextlib.suppress(OSError), file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(file.parent, ignore_errors=True)


def _parent() -> Path:
    return Path(tempfile.gettempdir())
