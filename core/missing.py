"""One thing that this machine lacks: a package, a model or a lexicon, with the way to get it."""

from __future__ import annotations

from dataclasses import dataclass


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
        """True when a command gets it; else the manifest, or the machine, has to be changed by hand."""
        return bool(self.installs) or self.model_id is not None


def missing_package(package: str, install: str) -> Missing:
    """A package that is not installed; `install` is its argument for pip."""
    what = f"the package {package} is not installed"
    return Missing(what=what, remedy=f"run `pip install {install}`", installs=(install,))
