"""Measures at a threshold against hand-made counts and textbook identities."""

import itertools
import math

import numpy as np
import pytest

from evaluation.calibration.agreement import MAX_THRESHOLDS, Agreement, agreements, area_under_curve, thresholds_of

NAN = math.nan


def point(tp, fp, fn, tn, rows=None):
    return Agreement(
        threshold=1.0, num_rows=rows or tp + fp + fn + tn, num_abstained=0, num_kept=tp + fp, kept_good=tp, kept_bad=fp,
        left_good=fn, left_bad=tn,
    )  # fmt: skip


def floats(*values):
    return np.array(values, np.float32)


def test_measures_of_a_worked_example():
    """Kappa 0.4 is that of the example with 20, 5, 10 and 15 in Wikipedia's article on Cohen's kappa."""
    one = point(20, 5, 10, 15)
    assert one.kappa == pytest.approx(0.4)
    assert (one.precision, one.recall) == (0.8, pytest.approx(2 / 3))
    assert one.f1 == pytest.approx(2 * 0.8 * (2 / 3) / (0.8 + 2 / 3))
    assert one.balanced_accuracy == pytest.approx((2 / 3 + 0.75) / 2)


@pytest.mark.parametrize("counts", list(itertools.product((0, 3, 8), repeat=4)))
def test_kappa_is_that_of_the_closed_form_of_two_classes(counts):
    tp, fp, fn, tn = counts
    one = point(*counts, rows=99)
    below = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    assert one.kappa == (pytest.approx(2 * (tp * tn - fn * fp) / below) if below else None)


def test_a_measure_without_a_denominator_has_no_value():
    nothing_kept, nothing_labelled = point(0, 0, 2, 3), point(0, 0, 0, 0, rows=5)
    assert (nothing_kept.precision, nothing_kept.recall, nothing_kept.kappa) == (None, 0, 0)
    measures = ("precision", "recall", "f1", "balanced_accuracy", "kappa")
    assert [getattr(nothing_labelled, name) for name in measures] == [None] * 5
    assert point(2, 0, 3, 0).balanced_accuracy is None


def test_each_threshold_keeps_what_is_at_least_it_and_no_abstention():
    score_N = floats(1, 2, 2, NAN, 3)
    labelled, good = np.array([1, 1, 0, 1, 1], bool), np.array([0, 1, 1, 1, 1], bool)
    found = agreements(score_N, labelled, good)
    assert [(one.threshold, one.num_kept, one.keep_rate) for one in found] == [(1, 4, 0.8), (2, 3, 0.6), (3, 1, 0.2)]
    assert {(one.num_rows, one.num_abstained, one.num_labelled) for one in found} == {(5, 1, 4)}
    counts = [(one.kept_good, one.kept_bad, one.left_good, one.left_bad) for one in found]
    assert counts == [(2, 1, 1, 0), (2, 0, 1, 1), (1, 0, 2, 1)]


def test_rows_that_all_abstain_have_no_threshold():
    none = np.zeros(2, bool)
    assert agreements(floats(NAN, NAN), none, none) == []


def test_many_values_are_looked_at_by_percentiles():
    values = np.random.default_rng(0).random(5000).astype(np.float32)
    found = thresholds_of(values)
    assert len(found) == MAX_THRESHOLDS
    assert (found[0], found[-1]) == (values.min(), values.max())
    assert abs(float(found[50]) - float(np.median(values))) < 1e-3
    assert set(found) <= set(values)


def test_area_is_the_share_of_pairs_in_the_right_order():
    good, bad = [3, 1, NAN, 2], [1, NAN, 0]
    ranked = [(-1 if math.isnan(g) else g, -1 if math.isnan(b) else b) for g in good for b in bad]
    share = sum((g > b) + (g == b) / 2 for g, b in ranked) / 12
    assert area_under_curve(floats(*good), floats(*bad)) == pytest.approx(share)
    assert area_under_curve(floats(2, 3), floats(1)) == 1
    assert area_under_curve(floats(), floats(1)) is None
