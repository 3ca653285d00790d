"""Clusters of 64-bit hashes that differ in few bits, without looking at all pairs.

Two hashes within distance d agree in one of d + 1 bands of their bits (pigeonhole). Real hashes crowd: all images with
a white border share most of their bands. So a crowded bucket is banded again by the bits that still differ inside it,
and where that would not pay, its pairs are compared block by block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Indices = NDArray[np.int64]
    Pairs = tuple[Indices, Indices]

HASH_BITS = 64
SMALL_BUCKET = 64
"""Members of a bucket up to which its pairs are compared in one go with those of all other small buckets."""
BLOCK = 1024
MAX_HELD_PAIRS = 1 << 22
"""Pairs found before they are folded into clusters, so that memory follows the hashes and not their pairs."""
MIN_GAIN = 0.5
"""A bucket is banded again where that leaves at most so many of its pairs to compare."""


def near_clusters(values: NDArray[np.uint64], max_distance: int) -> Indices:
    """Cluster number of each of the distinct `values` (N,): linked are those that differ in at most so many bits."""
    cluster = np.arange(len(values))
    left: list[Indices] = []
    right: list[Indices] = []
    held = 0
    for a, b in near_pairs(values, max_distance):
        if not len(a):
            continue
        left.append(a)
        right.append(b)
        held += len(a)
        if held >= MAX_HELD_PAIRS:
            cluster, held = _join(cluster, left, right), 0
            left.clear()
            right.clear()
    return _join(cluster, left, right)


def near_pairs(values: NDArray[np.uint64], max_distance: int) -> Iterator[Pairs]:
    """Pairs of indices into the distinct `values` (N,), each within `max_distance`, that link all pairs that are."""
    waiting = [np.arange(len(values))]
    while waiting:
        members = waiting.pop()
        own = values[members]
        bits = _differing_bits(own)
        if len(bits) <= max_distance:  # each is near to each: a star links them
            yield np.full(max(0, len(members) - 1), members[:1]), members[1:]
            continue
        # bits of a band lie far apart: neighbours go together (a white margin), and would crowd a bucket
        buckets = [_buckets(own, bits[number :: max_distance + 1]) for number in range(max_distance + 1)]
        if sum(float((sizes * sizes).sum()) for _, sizes in buckets) > MIN_GAIN * len(members) ** 2:
            yield from _compare_all(values, members, max_distance)
            continue
        for order, sizes in buckets:
            yield from _compare_small(values, members[order], sizes, max_distance)
            stops = np.cumsum(sizes)
            for stop, size in zip(stops[sizes > SMALL_BUCKET], sizes[sizes > SMALL_BUCKET], strict=True):
                waiting.append(members[order[stop - size : stop]])


def _differing_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Positions of the bits that are not the same in all values."""
    bits = np.arange(HASH_BITS, dtype=np.uint64)
    if not len(values):
        return bits[:0]
    differing = np.bitwise_or.reduce(values) ^ np.bitwise_and.reduce(values)
    is_differing: NDArray[np.bool_] = (differing >> bits) & np.uint64(1) == 1
    return bits[is_differing]


def _buckets(values: NDArray[np.uint64], band: NDArray[np.uint64]) -> tuple[Indices, Indices]:
    """(order, sizes): values in that order lie bucket by bucket, a bucket holding those that agree in the band."""
    mask = np.bitwise_or.reduce(np.uint64(1) << band)
    kept = values & mask
    order = np.argsort(kept, kind="stable")
    changes = np.flatnonzero(np.diff(kept[order])) + 1
    return order, np.diff(changes, prepend=0, append=len(values))


def _compare_small(values: NDArray[np.uint64], members: Indices, sizes: Indices, max_distance: int) -> Iterator[Pairs]:
    """Near pairs within the buckets of at most SMALL_BUCKET members: all neighbours in order, then next but one, ..."""
    end = np.repeat(np.where(sizes <= SMALL_BUCKET, np.cumsum(sizes), 0), sizes)
    own = values[members]
    at = np.arange(len(members))
    for step in range(1, SMALL_BUCKET):
        at = at[at + step < end[at]]
        if not len(at):
            return
        close = at[np.bitwise_count(own[at] ^ own[at + step]) <= max_distance]
        yield members[close], members[close + step]


def _compare_all(values: NDArray[np.uint64], members: Indices, max_distance: int) -> Iterator[Pairs]:
    """Near pairs among all members, a block against a block at a time."""
    own = values[members]
    for low in range(0, len(own), BLOCK):
        for high in range(low, len(own), BLOCK):
            differing = np.bitwise_count(own[low : low + BLOCK, None] ^ own[None, high : high + BLOCK])
            a, b = np.divmod(np.flatnonzero(differing <= max_distance), differing.shape[1])
            apart = low + a < high + b
            yield members[low + a[apart]], members[high + b[apart]]


def _join(cluster: Indices, left: list[Indices], right: list[Indices]) -> Indices:
    """The clusters after joining those of each pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    none = np.empty(0, np.int64)
    a, b = cluster[np.concatenate([none, *left])], cluster[np.concatenate([none, *right])]
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(cluster), len(cluster)))
    joined: Indices = connected_components(graph, directed=False)[1].astype(np.int64)
    return joined[cluster]
