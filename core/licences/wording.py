"""The verdict on licences in sentences, the same for the command, the plan, the data card and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.licences.verdict import Verdict

NO_ADVICE = "This is no legal advice."
SHOWN = 5
"""Parts that a sentence names; it counts the others."""


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """The verdict, a sentence a line: class and what decided it, what is asked, unknowns, conflicts, scores."""
    if verdict.deciding:
        yield f"{_head(verdict)}: {shortened(verdict.deciding)}"
    else:
        yield _head(verdict)
    if verdict.asks:
        yield f"asked: {', '.join(verdict.asks)}"
    if verdict.unknown:
        yield f"unknown, and not taken as free: {shortened(verdict.unknown)}"
    for conflict in verdict.conflicts:
        yield f"conflict where both meet in one work: {conflict}"
    if verdict.with_scores is not verdict.licence_class:
        yield f"with the models that only score or choose samples: {verdict.with_scores}"


def _head(verdict: Verdict) -> str:
    if verdict.licence_class is verdict.known_class or verdict.known_class is None:
        return f"verdict: {verdict.licence_class}"
    return f"verdict: {verdict.licence_class}; of what is known, {verdict.known_class}"


def shortened(parts: Sequence[str]) -> str:
    """The first parts, and how many more there are."""
    more = len(parts) - SHOWN
    return "; ".join(parts[:SHOWN]) + (f"; and {more:,} more" if more > 0 else "")
