"""Every error the engine raises on purpose.

EditloomError
├── UsageError            the command or manifest is wrong: exit 2
│   ├── ManifestError     unknown key, unknown stage, bad value
│   └── PlanError         the chain does not type-check, an input is missing
├── RunError              the run could not finish: exit 1
│   ├── MissingDependencyError  a package, model or lexicon is not on this machine
│   ├── LockedError       another build holds the run folder
│   ├── ShardFailed       one stage failed on one shard, after its attempts
│   │   └── DamagedFileError  a file of the run folder is not what was written
│   └── RunStopped        a fault no other shard would survive (disk full, read-only folder, a bug)
└── ContractError         a stage broke the stage contract (rows lost, columns missing): a bug in that stage

A message has what failed, the value, what was expected and what to do, on one line.
"""

from __future__ import annotations

import errno
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class EditloomError(Exception):
    """Base of every error raised on purpose; `str()` is the one line shown to the user."""


class UsageError(EditloomError):
    """The command line or the manifest is wrong; nothing was run."""


class ManifestError(UsageError):
    """The manifest has an unknown key or stage, or a value of the wrong kind."""


class PlanError(UsageError):
    """The chain cannot run as written: a column or artifact nobody writes, an input that is not there."""


class RunError(EditloomError):
    """The build started and could not finish."""


class MissingDependencyError(RunError):
    """A package, model or lexicon that the chain needs is not on this machine."""


class LockedError(RunError):
    """Another build holds the run folder."""


class ShardFailed(RunError):
    """One stage failed on one shard."""


class DamagedFileError(ShardFailed):
    """A file of the run folder or of a dataset is not what was written."""


class RunStopped(RunError):
    """A fault that would hit every further shard: the build drains and stops."""


class ContractError(EditloomError):
    """A stage broke the contract: rows lost or invented, a declared column missing or of another type."""


FATAL_ERRNOS = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
"""Faults of the run folder that no retry and no other shard survives."""

TRANSIENT_ERRNOS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EAGAIN, errno.ENOMEM, errno.EPIPE}
)
"""Faults of a machine or a network that another attempt may survive."""


def is_transient(error: BaseException) -> bool:
    """True for faults of a machine (memory, network, device) that another attempt may survive."""
    if isinstance(error, MemoryError | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS


def one_line(error: BaseException, limit: int = 400) -> str:
    """The error as `Type: message`, on one line of at most `limit` characters."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower()
    name = type(error).__name__
    line = text if isinstance(error, EditloomError) else (f"{name}: {text}" if text else name)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def nearest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest choice, or a list of all of them when none is near."""
    known = sorted(choices)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"
