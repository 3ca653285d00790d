from collections import Counter
from itertools import pairwise

import pytest

from trainer.mixing import Mix, whole_weights

MIXES = [
    Mix((1,), (4,), 4, 0),
    Mix((1, 1), (4, 2), 4, 1),
    Mix((5, 2, 1), (8, 2, 1), 8, 2),
    Mix((1000, 1), (16, 16), 16, 3),
    Mix((3, 3, 1, 9), (6, 3, 2, 6), 6, 4),
]


@pytest.mark.parametrize("mix", MIXES)
def test_place_of_every_sample_is_found_by_counting(mix):
    seen = Counter()
    for number in range(2000):
        dataset = mix.dataset_of(number)
        stream = (dataset, number % mix.streams[dataset])
        assert mix.position(number, dataset) == seen[stream]
        seen[stream] += 1


@pytest.mark.parametrize("mix", MIXES)
def test_shares_are_exact_after_as_many_turns_as_the_weights(mix):
    total = sum(mix.weights)
    for slot in range(mix.num_slots):
        found = Counter(mix.dataset_of(turn * mix.num_slots + slot) for turn in range(3 * total, 4 * total))
        assert [found[dataset] for dataset in range(len(mix.weights))] == list(mix.weights)


def test_shares_are_kept_at_any_time_in_every_stream_and_over_all():
    mix = Mix((5, 2, 1), (8, 4, 2), 8, 7)
    found, by_stream = Counter(), Counter()
    for number in range(4000):
        dataset = mix.dataset_of(number)
        found[dataset] += 1
        by_stream[dataset, number % mix.streams[dataset]] += 1
        if number % 8 == 7:
            assert all(abs(found[d] - (number + 1) * w / 8) <= 3 for d, w in enumerate(mix.weights))
    for (dataset, _), count in by_stream.items():
        assert abs(count - 4000 * mix.weights[dataset] / 8 / mix.streams[dataset]) <= 6


def test_batches_of_two_equal_datasets_hold_half_of_each():
    mix = Mix((1, 1), (16, 16), 16, 0)
    datasets = [mix.dataset_of(number) for number in range(320)]
    assert all(sum(datasets[n : n + 16]) == 8 for n in range(0, 320, 16))
    assert any(one == other for one, other in pairwise(datasets[:16]))  # and not by turns


def test_order_of_datasets_depends_on_the_seed():
    one, other = ([Mix((3, 1), (8, 8), 8, seed).dataset_of(number) for number in range(64)] for seed in (0, 1))
    assert one != other
    assert sum(one) == sum(other) == 16


def test_weights_become_whole_numbers_of_the_same_proportions():
    assert whole_weights((0.1, 0.2)) == (1, 2)
    assert whole_weights((3.0, 1.0)) == (3, 1)
    assert whole_weights((0.25, 1e-3)) == (250, 1)
    assert whole_weights((1000, 7)) == (1000, 7)
