"""Row counts from stage to stage: whether a row is left, and how many each stage rejected for which reasons.

The functions take the tallies of all stages, in the order of the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.build.result import StageTally

LARGE_FRAC = 0.9
"""Least share of rejected rows that the summary of a build mentions."""
SHOWN_REASONS = 3
EMPTY_REMEDY = "; change the settings or the input, or set allow_empty = true in the manifest"


def why_empty(stages: Sequence[StageTally]) -> str | None:
    """One line that says why no row is left, or None when a row is left."""
    last = stages[-1]
    if last.rows_out:
        return None
    what = f"no row is left after {last.stage}" if last.rows_in else f"no row reached {last.stage}"
    return f"{what}: {losses(stages) or 'the input has no rows'}"


def few_left(stages: Sequence[StageTally]) -> str | None:
    """One line about the share of rejected rows and the reasons, or None when it is small."""
    left = 1.0
    for stage in stages:
        left *= stage.rows_kept / stage.rows_in if stage.rows_in else 1.0
    if round(1 - left, 6) < LARGE_FRAC:
        return None
    share = min(100 * (1 - left), 99.9)
    return f"{share:.1f}% of the rows were rejected: {losses(stages)}".replace(".0%", "%")


def losses(stages: Sequence[StageTally]) -> str:
    """One line with each stage that rejected rows, the counts and the main reasons."""
    return "; ".join(
        f"{stage.stage} rejected {stage.rejects.total():,} of {stage.rows_in:,} rows ({_reasons(stage.rejects)})"
        for stage in stages
        if stage.rejects
    )


def _reasons(rejects: Mapping[str, int]) -> str:
    ordered = sorted(rejects.items(), key=lambda reason: (-reason[1], reason[0]))
    others = sum(count for _, count in ordered[SHOWN_REASONS:])
    shown = ordered[:SHOWN_REASONS] + ([("others", others)] if others else [])
    return ", ".join(f"{reason} {count:,}" for reason, count in shown)
