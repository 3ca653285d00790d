"""Claims of a paper as comparisons between rows of a table: the same for every benchmark that judges a paper."""

from __future__ import annotations

from dataclasses import dataclass

LOWER_IS_BETTER = ("l1", "fid", "spread", "wrong", "region_frac")
"""Beginnings of the names of measures of which less is better."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A cell's editor at one task: a row of the table."""

    cell: str
    task: str

    @property
    def name(self) -> str:
        """As tables name it."""
        return f"{self.cell}, {self.task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The paper has more (`is_up`) or less of `measure` in `better` than in `worse`, as means over these rows.

    With a `margin` it claims less: that `better` is not worse by more than that.
    """

    text: str
    measure: str
    better: tuple[Asked, ...]
    worse: tuple[Asked, ...]
    margin: float = 0.0

    @property
    def is_up(self) -> bool:
        """True where more is better."""
        return not self.measure.startswith(LOWER_IS_BETTER)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the paper, and the comparisons that judge it."""

    text: str
    comparisons: tuple[Comparison, ...]


def compared(
    text: str, measures: tuple[str, ...], better: tuple[Asked, ...], worse: tuple[Asked, ...]
) -> tuple[Comparison, ...]:
    """One comparison of the same rows for each measure."""
    return tuple(
        Comparison(text=f"{text}: {measure}", measure=measure, better=better, worse=worse) for measure in measures
    )
