"""The pairs that the rule judge is measured on."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.judge.pairs import RIGHT, SPOIL, pairs
from zoo.world import render


@pytest.fixture(scope="module")
def made():
    return list(pairs(40, 3))


def test_half_of_the_pairs_are_right_and_the_others_spoiled_in_turn(made):
    assert Counter(one.how for one in made) == {RIGHT: 20, **dict.fromkeys(SPOIL, 4)}
    assert len({one.key for one in made}) == 40


def test_right_pairs_have_the_true_result_and_spoiled_ones_do_not(made):
    far = {one.key: np.abs(one.edited.astype(int) - render(one.edit.target)).mean() for one in made}
    assert max(far[one.key] for one in made if one.how == RIGHT) < 4  # JPEG
    plain = [one for one in made if one.how not in (RIGHT, "nothing changed")]
    assert min(np.abs(one.edited.astype(int) - render(one.edit.target)).sum() for one in plain) > 1000


def test_the_same_seed_gives_the_same_pairs(made):
    again = list(pairs(6, 3))
    assert [(one.key, one.how) for one in again] == [(one.key, one.how) for one in made[:6]]
    assert all((one.edited == other.edited).all() for one, other in zip(again, made[:6], strict=True))
