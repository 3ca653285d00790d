"""Packages, models and lexicons that a chain needs and this machine lacks: all in one line, with one command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.missing import Missing


def refusal(lacks: Sequence[tuple[str, Missing]], manifest: str) -> str:
    """One line that names all (stage, missing thing), and the command that gets what can be got.

    `manifest` is the path that the command names.
    """
    stages_of: dict[Missing, list[str]] = {}
    for stage, lack in lacks:
        stages_of.setdefault(lack, []).append(stage)
    if len(stages_of) == 1:
        return "; ".join(f"{_stages(stages)}: {lack.message}" for lack, stages in stages_of.items())
    installs = _unique(install for lack in stages_of for install in lack.installs)
    commands = [f"pip install {' '.join(installs)}"] if installs else []
    commands += [f"editloom fetch {shlex.quote(manifest)}"] if any(lack.model_id for lack in stages_of) else []
    listed = "; ".join(
        f"{_stages(stages)}: {lack.what if lack.is_gettable else lack.message}" for lack, stages in stages_of.items()
    )
    but = "" if all(lack.is_gettable for lack in stages_of) else ", but for what has to be corrected"
    gets = f"; `{' && '.join(commands)}` gets them{but}" if commands else ""
    return f"{len(stages_of)} things are missing{gets}: {listed}"


def _stages(names: Sequence[str]) -> str:
    names = _unique(names)
    return f"{'stage' if len(names) == 1 else 'stages'} {', '.join(names)}"


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
