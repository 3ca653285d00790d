"""Every error that the project raises on purpose, of all packages. Each class has its exit code.

EditloomError
├── UsageError            the command, a manifest or a setting is wrong; nothing was run: exit 2
│   ├── SettingError      an unknown setting, or a value that it cannot have
│   ├── ManifestError     unknown key, unknown stage, bad value
│   ├── PlanError         the chain does not type-check, an input is missing
│   └── DatasetError      a folder is no finished dataset, or a tar is not the one listed
├── ModelError            a model, package or lexicon is unknown, not on this machine, or cannot serve: exit 1
│   └── MissingDependencyError  all that a chain lacks
├── RunError              the build could not finish: exit 1
│   ├── LockedError       another build holds the run folder
│   ├── ShardFailed       one stage failed on one shard, after its attempts
│   │   └── DamagedFileError  a file of the run folder is not what was written
│   └── RunStopped        a fault no other shard would survive (disk full, read-only folder, a bug)
├── TrainingError         the training could not finish: exit 1
│   ├── SampleError       a shard or a sample of the dataset cannot be read
│   ├── NotFiniteError    a loss or a gradient is infinite or not a number
│   └── InterruptedTraining  a signal asked to stop; the state was saved
├── EvaluationError       a benchmark, an output or an editor cannot be used: exit 1
├── ExportError           an export started and could not finish: exit 1
└── ContractError         a stage, recipe or editor broke its contract: a bug in it: exit 1

A message has what failed, the value, what was expected and what to do, on one line. Whatever is no EditloomError, and
no fault of the machine, is a bug: it keeps its traceback.
"""

from __future__ import annotations

import errno
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class EditloomError(Exception):
    """Base of every error raised on purpose. `str()` is the one line shown to the user."""

    exit_code: ClassVar[int] = 1


class UsageError(EditloomError):
    """The command line or the manifest is wrong. Nothing was run."""

    exit_code: ClassVar[int] = 2


class SettingError(UsageError):
    """A setting is unknown, or has a value that it cannot have."""


class ManifestError(UsageError):
    """The manifest has an unknown key or stage, or a value of the wrong kind."""


class PlanError(UsageError):
    """The chain cannot run as written: a column or artifact nobody writes, an input that is not there."""


class DatasetError(UsageError):
    """The folder is no dataset, its list of shards is not one of `emit`, or a tar differs from it."""


class ModelError(EditloomError):
    """A model, package or lexicon is unknown, is not on this machine, or cannot serve."""


class RunError(EditloomError):
    """The build started and could not finish."""


class MissingDependencyError(ModelError):
    """A package, model or lexicon that the chain needs is not on this machine."""


class LockedError(RunError):
    """Another build holds the run folder."""


class ShardFailed(RunError):
    """One stage failed on one shard."""


class DamagedFileError(ShardFailed):
    """A file of the run folder or of a dataset is not what was written."""


class RunStopped(RunError):
    """A fault that would hit every further shard: the build drains and stops."""


class TrainingError(EditloomError):
    """The training started, or had to resume, and could not finish."""


class SampleError(TrainingError):
    """A shard or a sample cannot be read."""


class NotFiniteError(TrainingError):
    """The loss or the norm of the gradients is infinite or not a number."""


class InterruptedTraining(TrainingError):
    """SIGTERM or Ctrl-C: the state was saved, `--resume` continues from it."""


class EvaluationError(EditloomError):
    """A benchmark, an output or an editor cannot be used."""


class ExportError(EditloomError):
    """An export of a dataset started and could not finish."""


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
    if not known:
        return " (there are none)"
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"
