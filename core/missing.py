"""Things that this machine lacks: packages, models and lexicons, each with the way to get it, and all in one line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """One missing thing: `what` says that it is missing, `remedy` how to get it, each in one clause.

    `message` joins both with `; `.
    """

    what: str
    remedy: str = ""
    installs: tuple[str, ...] = ()
    """Arguments for `pip install`."""
    model_id: str | None = None
    """The id that `editloom fetch` downloads."""

    @property
    def message(self) -> str:
        """Both clauses in one line."""
        return "; ".join(part for part in (self.what, self.remedy) if part)

    @property
    def is_gettable(self) -> bool:
        """True when a command gets it. Otherwise the manifest or the machine has to be changed by hand."""
        return bool(self.installs) or self.model_id is not None


def missing_package(package: str, install: str) -> Missing:
    """A package that is not installed. `install` is its argument for pip."""
    what = f"the package {package} is not installed"
    return Missing(what=what, remedy=f"run `pip install {install}`", installs=(install,))


def refusal(lacks: Sequence[tuple[str, Missing]], fetch: str = "") -> str:
    """One line that names all (stage or "", missing thing), and the command that gets what can be got.

    `fetch` is the manifest that the command names. Without it the command names the model ids.
    """
    stages_of: dict[Missing, list[str]] = {}
    for stage, lack in lacks:
        stages_of.setdefault(lack, []).append(stage)
    if len(stages_of) == 1:
        return "; ".join(f"{_stages(stages)}{lack.message}" for lack, stages in stages_of.items())
    installs = _unique(install for lack in stages_of for install in lack.installs)
    ids = _unique(lack.model_id for lack in stages_of if lack.model_id)
    commands = [f"pip install {' '.join(installs)}"] if installs else []
    commands += [f"editloom fetch {shlex.join([fetch] if fetch else ids)}"] if ids else []
    listed = "; ".join(
        f"{_stages(stages)}{lack.what if lack.is_gettable else lack.message}" for lack, stages in stages_of.items()
    )
    but = "" if all(lack.is_gettable for lack in stages_of) else ", but for what has to be corrected"
    gets = f"; `{' && '.join(commands)}` gets them{but}" if commands else ""
    return f"{len(stages_of)} things are missing{gets}: {listed}"


def _stages(names: Sequence[str]) -> str:
    """The stages before a colon; empty where no stage is named."""
    known = [name for name in _unique(names) if name]
    return f"{'stage' if len(known) == 1 else 'stages'} {', '.join(known)}: " if known else ""


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
