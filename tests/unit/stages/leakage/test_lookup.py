"""The nearest entry of a list against a comparison with all of them."""

import time

import numpy as np
import pytest

from stages.leakage import lookup
from stages.leakage.lookup import HASH_BITS, MAX_DISTANCE, HashLookup


def random_hashes(count, seed):
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), dtype=np.uint64)


def flipped(hashes, most, seed):
    """Copies in which up to `most` bits of each hash differ."""
    rng = np.random.default_rng(seed)
    copies = hashes.copy()
    for row in copies:
        for place in (0, 1):
            for bit in rng.choice(HASH_BITS, rng.integers(0, most + 1), replace=False):
                row[place] ^= np.uint64(1) << np.uint64(bit)
    return copies


def by_comparing_all(listed, queries, max_distance):
    bits = np.bitwise_count(queries[:, None] ^ listed[None]).max(axis=2).astype(int)
    nearest = bits.argmin(axis=1)
    distance = bits[np.arange(len(queries)), nearest]
    is_near = distance <= max_distance
    return np.where(is_near, distance, -1), np.where(is_near, nearest, -1)


@pytest.mark.parametrize("max_distance", [0, 3, 4, 7, 8, 11, 12, 15])
def test_nearest_is_that_of_a_comparison_with_all(max_distance):
    listed = random_hashes(300, 1)
    listed[50] = listed[10]  # of two that are as near the first counts
    queries = np.concatenate([flipped(listed, 20, 2), flipped(listed, 4, 3), random_hashes(100, 4)])
    found = HashLookup(listed[:, 0], listed[:, 1], max_distance).nearest(queries[:, 0], queries[:, 1])
    distance, entry = by_comparing_all(listed, queries, max_distance)
    assert (found.distance_Q == distance).all()
    assert (found.entry_Q == entry).all()
    assert 0 < (entry >= 0).sum() < len(queries)


def test_crowded_hashes_are_compared_in_pieces(monkeypatch):
    monkeypatch.setattr(lookup, "MAX_CANDIDATES", 64)
    listed = flipped(np.zeros((200, 2), np.uint64), 3, 5)
    queries = flipped(listed, 3, 6)
    found = HashLookup(listed[:, 0], listed[:, 1], 6).nearest(queries[:, 0], queries[:, 1])
    distance, entry = by_comparing_all(listed, queries, 6)
    assert (found.distance_Q == distance).all()
    assert (found.entry_Q == entry).all()


def test_no_query_gives_nothing():
    none = np.zeros(0, np.uint64)
    listed = random_hashes(3, 1)
    assert len(HashLookup(listed[:, 0], listed[:, 1], 8).nearest(none, none).entry_Q) == 0


def test_hundred_thousand_rows_against_ten_thousand_take_a_second():
    listed, queries = random_hashes(10_000, 1), random_hashes(100_000, 2)
    compare = HashLookup(listed[:, 0], listed[:, 1], 8)
    began = time.process_time()
    compare.nearest(queries[:, 0], queries[:, 1])
    assert time.process_time() - began < 3  # measured 0.3; a comparison with all takes more than 3


@pytest.mark.parametrize("distance", [-1, MAX_DISTANCE + 1])
def test_distance_that_the_tables_do_not_cover_is_refused(distance):
    none = np.zeros(1, np.uint64)
    with pytest.raises(ValueError, match=f"max_distance is {distance}; expected 0 to 15"):
        HashLookup(none, none, distance)


def test_tables_that_no_worker_could_hold_are_refused_before_they_are_made(monkeypatch):
    assert sum(entry.nbytes for _, entry in HashLookup(*random_hashes(100, 3).T, 12)._tables) == 4 * 697 * 100 * 4
    monkeypatch.setattr(lookup, "MAX_TABLE_BYTES", 4 * 697 * 100 * 4)
    HashLookup(*random_hashes(100, 3).T, 12)
    with pytest.raises(ValueError, match=r"101 hashes take 0 GiB of memory a worker at max_distance 12; expected"):
        HashLookup(*random_hashes(101, 3).T, 12)
