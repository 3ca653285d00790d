import itertools

import numpy as np
import pytest

from models.diffusion.prompt_to_prompt.alignment import aligned, refined, replaced, reweighted, word_places


def longest_common(source, target):
    """Length of the longest common subsequence, by trying all."""
    found = 0
    for size in range(len(target) + 1):
        for chosen in itertools.combinations(target, size):
            rest = iter(source)
            found = max(found, size) if all(token in rest for token in chosen) else found
    return found


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([0, 5, 6, 9], [0, 5, 6, 9], [0, 1, 2, 3]),
        ([0, 5, 6, 9], [0, 7, 6, 9], [0, -1, 2, 3]),
        ([0, 5, 6, 9], [0, 5, 7, 8, 6, 9], [0, 1, -1, -1, 2, 3]),
        ([0, 5, 7, 8, 6, 9], [0, 5, 6, 9], [0, 1, 4, 5]),
        ([0, 9], [0, 5, 9], [0, -1, 1]),
        ([0, 5, 9], [0, 9], [0, 2]),
        ([0, 9], [0, 9], [0, 1]),
        ([], [3], [-1]),
    ],
)
def test_words_of_both_captions_are_found(source, target, expected):
    assert aligned(source, target) == expected


def test_as_many_tokens_as_possible_are_aligned_in_order():
    rng = np.random.default_rng(0)
    for _ in range(60):
        source, target = (rng.integers(0, 4, rng.integers(0, 8)).tolist() for _ in range(2))
        found = aligned(source, target)
        places = [place for place in found if place >= 0]
        assert places == sorted(set(places))
        assert all(place < 0 or source[place] == token for place, token in zip(found, target, strict=True))
        assert len(places) == longest_common(source, target)


def test_of_equal_alignments_later_tokens_of_the_target_are_left_out():
    assert aligned([0, 5, 9], [0, 5, 5, 9]) == [0, 1, -1, 2]
    assert aligned([0, 5, 6, 9], [0, 6, 5, 9]) == [0, 2, -1, 3]
    assert aligned([0, 5, 5, 9], [0, 5, 9]) == [0, 1, 3]


def test_refine_takes_over_maps_of_common_words_and_padding():
    carried, kept = refined([0, 5, 6, 9], [0, 7, 5, 6, 9], 7)
    places = {(int(place), int(token)) for place, token in zip(*np.nonzero(carried), strict=True)}
    assert places == {(0, 0), (1, 2), (2, 3), (3, 4), (5, 5), (6, 6)}
    assert kept.tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert set(np.unique(carried)) == {0, 1}


def test_replace_pairs_words_and_divides_maps_evenly():
    carried, kept = replaced([range(1, 2), range(2, 4)], [range(1, 3), range(3, 4)], 7)
    expected = np.zeros((7, 7))
    expected[0, 0] = 1
    expected[1, [1, 2]] = 1 / 2
    expected[[2, 3], 3] = 1
    expected[4, 4] = expected[5, 5] = expected[6, 6] = 1
    np.testing.assert_array_equal(carried, expected)
    assert kept.tolist() == [0] * 7


def test_replace_keeps_the_end_of_text_where_lengths_differ():
    longer, shorter = [range(1, 4)], [range(1, 2)]
    for source, target, ends in ((longer, shorter, (4, 2)), (shorter, longer, (2, 4))):
        carried, _ = replaced(source, target, 6)
        assert carried[:, ends[1]].tolist() == [place == ends[0] for place in range(6)]
        assert carried.sum(axis=0)[ends[1] :].tolist() == [1] * (6 - ends[1])
    assert replaced([], [], 3).carried_LL.tolist() == np.eye(3).tolist()


def test_weights_scale_both_parts_of_a_map():
    edit = reweighted(refined([0, 5, 9], [0, 6, 9], 4), {0: 2.0, 1: 0.5})
    assert edit.carried_LL.tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert edit.kept_L.tolist() == [0, 0.5, 0, 0]


def test_words_that_do_not_fit_have_no_tokens_or_fewer():
    assert word_places([2, 1, 3, 1], 6) == [range(1, 3), range(3, 4), range(4, 5), range(5, 5)]
    assert word_places([], 6) == []
