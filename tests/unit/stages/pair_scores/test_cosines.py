"""Cosines between the vectors of a pair."""

import numpy as np
import pytest

from stages.pair_scores.cosines import caption_scores


def unit_rows(*rows):
    found = np.array(rows, np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


SOURCE, TARGET = unit_rows([3, 1, 2]), unit_rows([3, 2, 2])
SAID, ASKED = unit_rows([1, 1, 0]), unit_rows([1, 2, 0])


def direction(*vectors):
    (found,) = caption_scores(*vectors)["pair_direction_cos"]
    return found


def test_the_direction_is_the_cosine_of_the_two_changes():
    images, texts = (TARGET - SOURCE)[0].astype(float), (ASKED - SAID)[0].astype(float)
    expected = images @ texts / np.linalg.norm(images) / np.linalg.norm(texts)
    assert direction(SOURCE, TARGET, SAID, ASKED) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rounding", [0, 1e-7, -3e-7])
def test_a_change_that_is_rounding_has_no_direction(rounding):
    assert direction(SOURCE, SOURCE + np.float32(rounding), SAID, ASKED) == 0
    assert direction(SOURCE, TARGET, SAID, SAID + np.float32(rounding)) == 0
