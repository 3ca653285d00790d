"""Packages, models and lexicons that a chain needs and this machine lacks: all in one line, with one command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Lack:
    """One thing that is missing. `message` says what and how to get it, the part before `remedy_at` only what."""

    message: str
    remedy_at: str = "; "
    install: tuple[str, ...] = ()
    """Arguments for `pip install`."""
    fetch: str | None = None
    """Argument for `python -m models.fetch`."""

    @property
    def is_gettable(self) -> bool:
        """True when a command gets it; else the manifest, or the machine, has to be changed by hand."""
        return bool(self.install) or self.fetch is not None


def refusal(lacks: Sequence[Lack]) -> str:
    """One line that names all of them, once each, and the command that gets what can be got."""
    lacks = list(dict.fromkeys(lacks))
    if len(lacks) == 1:
        return lacks[0].message
    parts = [
        ("pip install", _unique(arg for lack in lacks for arg in lack.install)),
        ("python -m models.fetch", _unique(lack.fetch for lack in lacks if lack.fetch is not None)),
    ]
    command = " && ".join(" ".join([name, *args]) for name, args in parts if args)
    listed = "; ".join(k.message.partition(k.remedy_at)[0] if k.is_gettable else k.message for k in lacks)
    but = "" if all(lack.is_gettable for lack in lacks) else ", but for what has to be corrected"
    gets = f"; `{command}` gets them{but}" if command else ""
    return f"{len(lacks)} things are missing{gets}: {listed}"


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
