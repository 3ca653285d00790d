from collections import Counter
from itertools import islice

import pytest

from core.errors import UsageError
from samples.shards import ShardFile
from trainer.order import Order, StreamPlan, plan_streams, streams_of


def shards(*counts):
    return tuple(ShardFile(f"{number}.tar", count, 0, "") for number, count in enumerate(counts))


def stream_of(order, stream, start=0):
    for visit, skip in order.visits(stream, start):
        for first, places in order.blocks(visit, skip):
            for place in places:
                yield visit.epoch, visit.shard.file, first + place


def global_order(order, count):
    streams = [stream_of(order, stream) for stream in range(order.num_streams)]
    return [next(streams[n % order.num_streams]) for n in range(count)]


@pytest.mark.parametrize("num_streams", [1, 2, 3, 5])
@pytest.mark.parametrize("counts", [(7, 7, 7, 7, 7), (3, 20, 1, 9, 5)])
def test_every_epoch_holds_every_sample_exactly_once(num_streams, counts):
    order = Order(shards(*counts), num_streams, 4, seed=1)
    seen = Counter(global_order(order, 12 * sum(counts)))
    everything = {(file, place) for file, count in zip(range(5), counts, strict=True) for place in range(count)}
    for epoch in range(3):
        found = {(int(file.removesuffix(".tar")), place): n for (e, file, place), n in seen.items() if e == epoch}
        assert found == dict.fromkeys(everything, 1)


def test_streams_of_equal_shards_are_never_more_than_one_shard_apart():
    order = Order(shards(*[6] * 5), 4, 4, seed=0)
    epochs = [sample[0] for sample in global_order(order, 30 * 40)]
    for n in range(0, len(epochs) - 24, 24):
        window = epochs[n : n + 24]
        assert max(window) - min(window) <= 1


@pytest.mark.parametrize("start", [0, 1, 5, 6, 17, 40, 100])
def test_any_position_is_found_by_counting(start):
    order = Order(shards(3, 20, 1, 9, 5), 2, 4, seed=3)
    for stream in range(2):
        expected = list(islice(stream_of(order, stream), start, start + 50))
        assert list(islice(stream_of(order, stream, start), 50)) == expected


def test_order_changes_with_seed_and_epoch_and_mixes_within_blocks():
    one = global_order(Order(shards(8, 8, 8, 8), 1, 4, seed=1), 64)
    other = global_order(Order(shards(8, 8, 8, 8), 1, 4, seed=2), 64)
    assert one != other
    assert [s[1:] for s in one[:32]] != [s[1:] for s in one[32:]]
    assert [s[2] for s in one[:8]] != list(range(8))
    assert sorted(s[2] for s in one[:4]) == [0, 1, 2, 3]


def test_epochs_permute_shards_anew():
    order = Order(shards(*[1] * 6), 1, 4, seed=1)
    epochs = [tuple(s[1] for s in global_order(order, 60)[n : n + 6]) for n in range(0, 60, 6)]
    assert len(set(epochs)) > 5


@pytest.mark.parametrize(
    ("num_shards", "num_ranks", "num_workers", "expected"),
    [
        (100, 1, 0, StreamPlan(16, 0)),
        (100, 2, 4, StreamPlan(16, 4)),
        (100, 16, 1, StreamPlan(16, 1)),
        (100, 8, 4, StreamPlan(16, 2)),
        (100, 1, 3, StreamPlan(16, 2)),
        (100, 32, 2, StreamPlan(32, 1)),
        (100, 3, 2, StreamPlan(15, 1)),
        (5, 1, 0, StreamPlan(4, 0)),
        (5, 2, 0, StreamPlan(4, 0)),
        (5, 2, 8, StreamPlan(4, 2)),
        (3, 1, 3, StreamPlan(2, 2)),
        (1, 1, 4, StreamPlan(1, 1)),
        (7, 7, 1, StreamPlan(7, 1)),
    ],
)
def test_streams_and_workers_fit_shards_and_processes(num_shards, num_ranks, num_workers, expected):
    plan = plan_streams([num_shards], num_ranks, num_workers)
    assert plan == expected
    assert plan.num_streams % (num_ranks * max(1, plan.num_workers)) == 0
    assert plan.num_streams <= num_shards


def test_given_number_of_streams_is_kept_and_workers_give_way():
    assert plan_streams([10], 2, 3, streams=4) == StreamPlan(4, 2)
    assert plan_streams([10], 1, 0, streams=4) == StreamPlan(4, 0)


def test_fewer_shards_than_processes_is_refused_with_both_numbers():
    with pytest.raises(UsageError, match=r"has 2 shards with samples and there are 4 processes.*at most 2 processes"):
        plan_streams([2], 4, 0)


@pytest.mark.parametrize("streams", [3, 12])
def test_streams_that_cannot_be_dealt_evenly_are_refused(streams):
    with pytest.raises(UsageError, match=rf"streams is {streams}; expected a multiple .*\(2\).*\(10\)"):
        plan_streams([10], 2, 0, streams=streams)


@pytest.mark.parametrize(
    ("num_shards", "num_ranks", "num_workers", "expected", "of_each"),
    [
        ((100, 100), 1, 0, StreamPlan(16, 0), [16, 16]),
        ((100, 3), 1, 2, StreamPlan(16, 2), [16, 2]),
        ((100, 1), 1, 4, StreamPlan(16, 1), [16, 1]),
        ((7, 100), 3, 2, StreamPlan(12, 2), [6, 12]),
        ((3, 100), 3, 0, StreamPlan(15, 0), [3, 15]),
        ((2, 40), 2, 8, StreamPlan(16, 1), [2, 16]),
    ],
)
def test_streams_of_several_datasets_are_dealt_evenly(num_shards, num_ranks, num_workers, expected, of_each):
    plan = plan_streams(num_shards, num_ranks, num_workers)
    assert plan == expected
    assert [streams_of(plan.num_streams, number) for number in num_shards] == of_each
    assert all(number % (num_ranks * max(1, plan.num_workers)) == 0 for number in of_each)


def test_one_dataset_of_several_with_too_few_shards_is_named():
    with pytest.raises(UsageError, match="dataset 2 of 2 has 1 shards with samples and there are 2 processes"):
        plan_streams([8, 1], 2, 0)
    with pytest.raises(UsageError, match=r"streams is 10; .* \(2\) and at most .* \(10\), for each dataset"):
        plan_streams([10, 7], 2, 0, streams=10)


def test_about_half_of_the_samples_are_mirrored_and_always_the_same_ones():
    order = Order(shards(100), 1, 4, seed=1)
    (visit, _), *_ = islice(order.visits(0, 0), 2)
    flips = [order.mirrored(visit, index) for index in range(100)]
    assert 30 < sum(flips) < 70
    assert flips == [order.mirrored(visit, index) for index in range(100)]
