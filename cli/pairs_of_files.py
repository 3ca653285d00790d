"""An option that takes two files each time it is given: `--example BEFORE AFTER`. Typer has none that is repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXAMPLE = "--example"


class ExampleCommand(TyperCommand):
    """A command with the option `--example BEFORE AFTER`, which its function receives as a flat list of files."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write the option before each of its two files."""
        return super().parse_args(ctx, spread(args))


def spread(args: Sequence[str]) -> list[str]:
    """The arguments with the option before each of its files. Raises BadParameter where it has not two of them."""
    found: list[str] = []
    left = iter(args)
    for word in left:
        if word == "--":
            return [*found, word, *left]
        if word.startswith(f"{EXAMPLE}="):
            raise typer.BadParameter(f"{word!r} names one file; write two files after it: {EXAMPLE} BEFORE AFTER")
        if word != EXAMPLE:
            found.append(word)
            continue
        for _ in range(2):
            file = next(left, "")
            if not file or file.startswith("--"):
                raise typer.BadParameter(f"{EXAMPLE} takes two files, before and after the edit; give both")
            found += [EXAMPLE, file]
    return found


def pairs_of(files: Sequence[Path]) -> tuple[tuple[Path, Path], ...]:
    """The files two by two. Raises BadParameter for an odd number: an option before took `--example` for its value."""
    if len(files) % 2:
        raise typer.BadParameter(f"the value of the option before {EXAMPLE} is missing; give it one")
    return tuple(zip(files[::2], files[1::2], strict=True))
