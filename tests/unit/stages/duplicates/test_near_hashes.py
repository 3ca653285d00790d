"""Near clusters against a brute force over all pairs, and crowded hashes."""

import time
import tracemalloc

import numpy as np
import pytest
from _crowded_hashes import brute_clusters, crowds, same_partition
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from stages.duplicates import near_hashes
from stages.duplicates.near_hashes import join, near_clusters, roots_of


@settings(max_examples=150, deadline=None)
@given(crowds(), st.integers(0, 16))
def test_clusters_are_those_of_all_pairs(hashes, distance):
    found = near_clusters(np.array(hashes, np.uint64), distance)
    assert found.tolist() == brute_clusters(hashes, distance)


@pytest.mark.parametrize("distance", [0, 1, 3, 5, 8, 16])
def test_large_crowds_have_the_clusters_of_all_pairs(distance):
    rng = np.random.default_rng(distance)
    crowd = rng.integers(0, 2, (600, 14)) @ (np.uint64(1) << rng.choice(64, 14, replace=False).astype(np.uint64))
    masked = rng.integers(0, 2**64, 600, dtype=np.uint64) & rng.integers(0, 2**64, 600, dtype=np.uint64)
    sparse = masked & rng.integers(0, 2**64, 600, dtype=np.uint64) & rng.integers(0, 2**64, 600, dtype=np.uint64)
    values = np.unique(np.concatenate([crowd.astype(np.uint64), masked, sparse]))
    near = np.bitwise_count(values[:, None] ^ values[None, :]) <= distance
    expected = connected_components(csr_array(near), directed=False)[1]
    assert same_partition(near_clusters(values, distance).tolist(), expected.tolist())


def test_only_values_that_agree_in_the_mask_are_compared():
    values = np.array([0b000, 0b001, 0b100, 0b101], np.uint64)
    assert near_clusters(values, 1, 0b100).tolist() == [0, 0, 2, 2]
    assert near_clusters(values, 1).tolist() == [0, 0, 0, 0]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.data())
def test_joined_nodes_are_the_connected_components(count, data):
    nodes = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(nodes, nodes), max_size=60))
    root = np.arange(count)
    cut = data.draw(st.integers(0, len(links)))
    for some in (links[:cut], links[cut:]):
        join(root, *np.array(some, np.int64).reshape(-1, 2).T)
    ends = np.array(links, np.int64).reshape(-1, 2).T
    graph = csr_array((np.ones(len(links)), tuple(ends)), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    least = [min(np.flatnonzero(label == own)) for own in label]
    assert roots_of(root, np.arange(count)).tolist() == least


@pytest.mark.timeout(60)
@pytest.mark.parametrize("order", ["up", "down", "mixed"])
def test_a_long_chain_is_joined_fast(order):
    nodes = np.arange(200_000)
    ends = nodes if order == "up" else nodes[::-1] if order == "down" else np.random.default_rng(0).permutation(nodes)
    root = np.arange(len(nodes))
    started = time.perf_counter()
    join(root, ends[:-1], ends[1:])
    assert not roots_of(root, nodes).any()
    assert time.perf_counter() - started < 10


def uniform(number, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, number, dtype=np.uint64)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "hashes",
    [
        pytest.param(uniform(20_000) << np.uint64(16), id="one full band"),
        pytest.param(uniform(20_000) & np.uint64(0x0000FFFF_FFFF0000), id="white margins"),
        pytest.param(np.arange(20_000, dtype=np.uint64), id="few bits"),
        pytest.param(uniform(200_000), id="uniform"),
    ],
)
def test_crowded_hashes_stay_fast(hashes):
    values = np.unique(hashes)
    started = time.perf_counter()
    assert len(near_clusters(values, 3)) == len(values)
    assert time.perf_counter() - started < 15


def test_pairs_are_folded_so_that_memory_follows_the_hashes(monkeypatch):
    hashes = np.arange(1 << 13, dtype=np.uint64)  # about 1.5 million near pairs
    monkeypatch.setattr(near_hashes, "MAX_HELD_PAIRS", 1 << 16)
    tracemalloc.start()
    labels = near_clusters(hashes, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(labels.tolist()) == {0}
    assert peak < 50e6
