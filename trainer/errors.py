"""Every error the trainer raises on purpose; `str()` is the one line shown to the user.

TrainerError
├── WrongUsageError        a setting, recipe, dataset or model cannot be used as asked: exit 2
└── TrainingError          the training could not finish: exit 1
    ├── SampleError        a sample of the dataset cannot be read
    ├── NotFiniteError     a loss or a gradient is not a number
    └── InterruptedTraining  a signal asked to stop; a checkpoint was written

A message has what failed, the value, what was expected and what to do, on one line.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class TrainerError(Exception):
    """Base of every error raised on purpose."""


class WrongUsageError(TrainerError):
    """What was asked for cannot be done; nothing was trained."""


class TrainingError(TrainerError):
    """The training started, or had to go on, and could not finish."""


class SampleError(TrainingError):
    """A shard or a sample cannot be read."""


class NotFiniteError(TrainingError):
    """The loss or the norm of the gradients is infinite or not a number."""


class InterruptedTraining(TrainingError):
    """SIGTERM or Ctrl-C: the state was saved, `--resume` goes on from it."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest choice, or a list of all of them when none is near."""
    known = sorted(choices)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


def one_line(error: BaseException, limit: int = 1000) -> str:
    """The message on one line of at most `limit` characters; the type's name where there is no message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
