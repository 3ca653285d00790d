"""Temporary files of a run whose run folder is not on this machine: one folder for all its processes here.

A process that uses the folder holds a lock on a file in it for as long as it lives, however it ends. So what dead runs
left is found and removed by the next run on that machine: nobody holds it.
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
        """The folder, there and in use; the first call removes those that nobody uses any more."""
        path = _parent() / f"{PREFIX}{self._run_id}"
        if self._held is None:
            remove_dead()
        while not self._is_held(path / IN_USE):
            self._let_go()
            path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # somebody removed it in between
                self._held = (path / IN_USE).open("ab")
                with contextlib.suppress(OSError):  # a file system without locks: then nobody can take it for dead
                    fcntl.flock(self._held, fcntl.LOCK_SH)
        return path

    def remove(self) -> None:
        """Remove the folder, for other processes too."""
        self._let_go()
        shutil.rmtree(_parent() / f"{PREFIX}{self._run_id}", ignore_errors=True)

    def _is_held(self, file: Path) -> bool:
        try:
            return self._held is not None and os.path.samestat(file.stat(), os.fstat(self._held.fileno()))
        except FileNotFoundError:
            return False

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def remove_dead() -> None:
    """Remove the folders of runs that have no process on this machine any more, as far as they are this user's."""
    for file in _parent().glob(f"{PREFIX}*/{IN_USE}"):
        with contextlib.suppress(OSError), file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(file.parent, ignore_errors=True)


def _parent() -> Path:
    return Path(tempfile.gettempdir())
