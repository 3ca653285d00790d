"""The exit codes of every command: 0 done, 1 it could not be done, 2 wrong usage.

An error raised on purpose has the code of its class. Faults of the machine, lack of memory and an interrupt are 1. Each
of these is one line on stderr. Anything else is a bug: its traceback is shown, and the exit code is 1. A result that
nobody reads to its end, as in `editloom plan … | head -1`, is 1 without a line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from core.errors import EditloomError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

INTERRUPTED = 130
"""Exit code that typer gives a KeyboardInterrupt."""
MESSAGE_CHARS = 8000
"""Longest error message: a list of all that is missing fits into it."""
MEMORY_CHARS = 200
"""Longest part of torch's message about memory, which continues with statistics."""
MEMORY_ADVICE = "lower batch size or image size; a training can set run_on.accumulate and run_on.gradient_checkpointing"


def run(app: typer.Typer, argv: Sequence[str] | None = None, name: str = "editloom") -> int:
    """Run the command line with `argv` (default: those of the process). Return the exit code. A bug is raised."""
    code = _run(app, argv, name)
    try:
        print(end="", flush=True)  # noqa: T201  does nothing where there is no stdout
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 1 if isinstance(error, BrokenPipeError) else _failed(one_line(error), 1)
    return code


def _run(app: typer.Typer, argv: Sequence[str] | None, name: str) -> int:
    try:
        # without standalone mode `typer.Exit` comes back as a value, and typer prints no error itself
        code: Any = app(args=None if argv is None else list(argv), prog_name=name, standalone_mode=False)
    except KeyboardInterrupt:
        return _failed("interrupted", 1)
    except Exception as error:
        message, code = _reported(error, name)
        if message is None:
            raise
        return _failed(message, code)
    return _failed("interrupted", 1) if code == INTERRUPTED else int(code or 0)


def _reported(error: Exception, name: str) -> tuple[str | None, int]:
    """(message, exit code) of an error that is no bug, or None for a bug."""
    if isinstance(error, EditloomError):
        return one_line(error, MESSAGE_CHARS), error.exit_code
    if _is_usage(error):
        message: str = error.format_message()  # type: ignore[attr-defined]
        return message or f"which command? see {name} --help", 2
    if _is_lack_of_memory(error):
        return f"{one_line(error, MEMORY_CHARS)}; {MEMORY_ADVICE}", 1
    if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
        return one_line(error, MESSAGE_CHARS), 1  # a system call failed, or fsspec says so by the class alone
    return None, 1


def _is_usage(error: Exception) -> bool:
    """True for a usage error of typer, whose classes have had several homes."""
    return hasattr(error, "exit_code") and hasattr(error, "format_message")


def _is_lack_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")  # never imported here: it takes seconds
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _failed(message: str, code: int) -> int:
    print(f"editloom: {message}", file=sys.stderr)  # noqa: T201  the command's one way to report a failure
    return code
