"""What a threshold keeps, and how that agrees with labels: closed forms over a table of counts.

An edit is kept when its score is at least the threshold; an abstention is never kept. Good is the positive class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float32]

MAX_THRESHOLDS = 101
"""More distinct values than these are looked at by their percentiles."""

# N rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Counts at one threshold. A measure whose denominator is 0 has no value."""

    threshold: float
    num_rows: int
    num_abstained: int
    num_kept: int
    kept_good: int
    kept_bad: int
    left_good: int
    left_bad: int

    @property
    def keep_rate(self) -> float:
        """Share of all rows that are kept; abstentions count as rows."""
        return self.num_kept / self.num_rows

    @property
    def num_labelled(self) -> int:
        """Rows with a label, abstentions among them."""
        return self.kept_good + self.kept_bad + self.left_good + self.left_bad

    @property
    def precision(self) -> float | None:
        """Share of the kept rows that are good."""
        return _share(self.kept_good, self.kept_good + self.kept_bad)

    @property
    def recall(self) -> float | None:
        """Share of the good rows that are kept."""
        return _share(self.kept_good, self.kept_good + self.left_good)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _share(2 * self.kept_good, 2 * self.kept_good + self.kept_bad + self.left_good)

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of the share of good rows kept and the share of bad rows left out."""
        good, bad = self.recall, _share(self.left_bad, self.left_bad + self.kept_bad)
        return None if good is None or bad is None else (good + bad) / 2

    @property
    def kappa(self) -> float | None:
        """Cohen 1960: agreement beyond chance, (p_o - p_e) / (1 - p_e); 1 is full, 0 is that of chance."""
        total = self.num_labelled
        if not total:
            return None
        observed = (self.kept_good + self.left_bad) / total
        kept, good = self.kept_good + self.kept_bad, self.kept_good + self.left_good
        expected = (kept * good + (total - kept) * (total - good)) / total**2
        return None if expected == 1 else (observed - expected) / (1 - expected)


def thresholds_of(score_N: Floats) -> Floats:
    """The values at which something changes, from low to high: all of them, or the percentiles of many."""
    values = np.unique(score_N[~np.isnan(score_N)])
    if len(values) <= MAX_THRESHOLDS:
        return values
    known = np.sort(score_N[~np.isnan(score_N)])
    places = np.linspace(0, len(known) - 1, MAX_THRESHOLDS).round().astype(int)
    return np.unique(known[places])


def agreements(score_N: Floats, is_labelled_N: Bools, is_good_N: Bools) -> list[Agreement]:
    """The counts at every threshold, from low to high; none where all rows are abstentions."""
    good, bad = is_labelled_N & is_good_N, is_labelled_N & ~is_good_N
    found = []
    for threshold in thresholds_of(score_N):
        is_kept = score_N >= threshold  # NaN is not
        found.append(
            Agreement(
                threshold=float(threshold), num_rows=len(score_N), num_abstained=int(np.isnan(score_N).sum()),
                num_kept=int(is_kept.sum()), kept_good=int((is_kept & good).sum()), kept_bad=int((is_kept & bad).sum()),
                left_good=int((~is_kept & good).sum()), left_bad=int((~is_kept & bad).sum()),
            )
        )  # fmt: skip
    return found


def area_under_curve(good_N: Floats, bad_N: Floats) -> float | None:
    """The chance that a good edit has a higher score than a bad one, ties as half (Mann and Whitney 1947).

    NaN is below every number, since no threshold keeps an abstention. None where one side is empty.
    """
    if not len(good_N) or not len(bad_N):
        return None
    good, bad = (np.where(np.isnan(values), -math.inf, values) for values in (good_N, bad_N))
    ordered = np.sort(bad)
    below, up_to = np.searchsorted(ordered, good, "left"), np.searchsorted(ordered, good, "right")
    return float((below + up_to).sum() / 2 / (len(good) * len(bad)))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
