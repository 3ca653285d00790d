"""The judgement of each claim, and the tables.

A comparison is made seed by seed: the gain is the difference in the direction that the paper claims, plus the margin of
a claim that one thing is not much worse than another. It agrees where the mean gain is above twice the standard
deviation of the gains, disagrees where it is below minus that, and is not clear otherwise, nor with fewer than two
seeds. A claim agrees where some of its comparisons agree and none disagrees, disagrees the other way round, and is not
clear where none is or where they contradict each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.claims.claims import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.claims.claims import Claim, Comparison
    from benchmarks.claims.results import Result
    from zoo.evaluation.edits import EditScores

Verdict = Literal["agrees", "disagrees", "not clear"]
CLEAR = 2.0
"""A gain is clear from so many standard deviations of its seeds on."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One comparison: gains by seed, and the standard error that the number of edits leaves on one gain."""

    comparison: Comparison
    gains: tuple[float, ...]
    error: float

    @property
    def verdict(self) -> Verdict:
        """By the rule of this module."""
        return verdict_of(self._judged_gains)

    @property
    def _judged_gains(self) -> list[float]:
        return [gain + self.comparison.margin for gain in self.gains]

    @property
    def reason(self) -> str:
        """One line for people."""
        if not self.gains:
            return f"{self.comparison.text}: not run"
        change = float(np.mean(self.gains)) * (1 if self.comparison.is_up else -1)
        margin = f", margin {self.comparison.margin:g}" if self.comparison.margin else ""
        if len(self.gains) == 1:
            seen = "large enough to see" if abs(self._judged_gains[0]) > CLEAR * self.error else "within the error"
            return f"{self.comparison.text} {change:+.4f}, one seed{margin}, {seen} (edits leave ± {self.error:.4f})"
        return (
            f"{self.comparison.text} {change:+.4f} ± {spread_of(self.gains):.4f} over {len(self.gains)} seeds{margin}: "
            f"{self.verdict}"
        )


def verdict_of(gains: Sequence[float]) -> Verdict:
    """Judge gains, one a seed."""
    mean, spread = (float(np.mean(gains)) if gains else 0.0), spread_of(gains)
    if len(gains) < 2 or not abs(mean) > CLEAR * spread:  # nor is nan, of edits that lack the measure
        return "not clear"
    return "agrees" if mean > 0 else "disagrees"


def spread_of(values: Sequence[float]) -> float:
    """The standard deviation over seeds, 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim from those on its comparisons."""
    found = {one for one in verdicts if one != "not clear"}
    return found.pop() if len(found) == 1 else "not clear"


def judged(claim: Claim, results: Sequence[Result], kinds: Sequence[str]) -> list[Judged]:
    """The claim's comparisons, on edits of these kinds, over the seeds in which all their rows are there."""
    return [_judged(comparison, results, kinds) for comparison in claim.comparisons]


def _judged(comparison: Comparison, results: Sequence[Result], kinds: Sequence[str]) -> Judged:
    scores = {(one.cell, task, one.seed): found for one in results for task, found in one.tasks.items()}
    seeds = sorted({one.seed for one in results})
    rows = (*comparison.better, *comparison.worse)
    complete = [seed for seed in seeds if all((row.cell, row.task, seed) in scores for row in rows)]
    sign = 1 if comparison.is_up else -1

    def mean(side: Sequence[Asked], seed: int) -> float:
        return float(np.mean([scores[row.cell, row.task, seed].mean(comparison.measure, kinds) for row in side]))

    gains = tuple(sign * (mean(comparison.better, seed) - mean(comparison.worse, seed)) for seed in complete)
    errors = [
        scores[row.cell, row.task, complete[0]].error(comparison.measure, kinds) / len(side)
        for side in (comparison.better, comparison.worse) for row in side if complete
    ]  # fmt: skip
    return Judged(comparison, gains, math.sqrt(sum(error**2 for error in errors)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The contents of a benchmark's tables."""

    claims: tuple[Claim, ...]
    judged_on: tuple[str, ...]
    """Kinds of edits that the claims are judged on."""
    sections: Mapping[str, tuple[str, ...]]
    """Title of a table -> kinds of edits that it is of."""
    measures: tuple[str, ...]


def as_markdown(results: Sequence[Result], plain: Mapping[str, EditScores], layout: Layout) -> str:
    """The tables of all rows, and the verdicts. `plain` are the rows that no cell trains."""
    lines: list[str] = []
    for title, kinds in layout.sections.items():
        lines += [f"| {title} | seeds | " + " | ".join(layout.measures) + " |"]
        lines += ["|---" * (len(layout.measures) + 2) + "|"]
        lines += [_line(name, [scores], kinds, layout.measures) for name, scores in plain.items()]
        lines += [_line(asked.name, found, kinds, layout.measures) for asked, found in by_row(results).items()]
        lines.append("")
    lines += ["| the paper says | the miniature | why |", "|---|---|---|"]
    for claim in layout.claims:
        found = judged(claim, results, layout.judged_on)
        why = "; ".join(one.reason for one in found)
        lines.append(f"| {claim.text} | {joined([one.verdict for one in found])} | {why} |")
    return "\n".join(lines) + "\n"


def by_row(results: Sequence[Result]) -> dict[Asked, list[EditScores]]:
    """The scores of each cell and task, one a seed, in the order of `results`."""
    found: dict[Asked, list[EditScores]] = {}
    for one in results:
        for task, scores in one.tasks.items():
            found.setdefault(Asked(one.cell, task), []).append(scores)
    return found


def _line(name: str, scores: Sequence[EditScores], kinds: Sequence[str], measures: Sequence[str]) -> str:
    values = {measure: [one.mean(measure, kinds) for one in scores] for measure in measures}
    is_seeded = len(scores) > 1
    shown = [
        "-" if np.isnan(v).any() else f"{np.mean(v):.3f}" + (f" ± {spread_of(v):.3f}" if is_seeded else "")
        for v in values.values()
    ]
    return f"| {name} | {len(scores)} | " + " | ".join(shown) + " |"
