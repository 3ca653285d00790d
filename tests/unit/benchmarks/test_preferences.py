"""How the benchmark of preference pairs counts, and which pairs a score gives."""

import math

import pytest

from benchmarks.preferences.run import MANIFEST, SCORES, pairs_by, shares
from pipeline.plan.manifest import load_manifest
from stages.pair_preferences import PairPreferences

RIGHT = {"a": True, "b": False, "c": True, "d": False}


def test_each_kind_of_pair_is_counted():
    found = shares([("a", "b"), ("a", "c"), ("b", "d"), ("d", "c")], RIGHT)
    assert (found.pairs, found.chosen_right, found.rejected_right) == (4, 0.5, 0.5)
    assert (found.better, found.worse, found.of_decided) == (0.25, 0.25, 0.5)


def test_a_share_of_no_pairs_is_no_number():
    assert math.isnan(shares([], RIGHT).better)
    assert math.isnan(shares([("a", "c")], RIGHT).of_decided)


def test_a_score_pairs_the_best_candidate_with_the_worst():
    rows = [
        {"sample_id": own, "parent_id": own[0], "pair_dino_cos": score}
        for own, score in (("p1", 0.2), ("p2", 0.9), ("p3", 0.5), ("q1", 0.4), ("q2", 0.4))
    ]
    assert pairs_by(rows, "pair_dino_cos") == [("p2", "p1")]


def test_the_shipped_score_is_among_those_compared():
    (stage,) = [one.stage for one in load_manifest(MANIFEST).stages if isinstance(one.stage, PairPreferences)]
    assert stage.by in SCORES


@pytest.mark.parametrize("pairs", [[("a", "b")], [("c", "d"), ("a", "c")]])
def test_a_chosen_edit_that_alone_is_right_decides_for_the_score(pairs):
    assert shares(pairs, RIGHT).of_decided == 1.0
