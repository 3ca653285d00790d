"""Near pairs and clusters of 64-bit hashes that one process holds.

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

    Hashes = NDArray[np.uint64]
    Indices = NDArray[np.int64]
    Pairs = tuple[Indices, Indices]

HASH_BITS = 64
SMALL_BUCKET = 256
"""Members of a bucket up to which its pairs are compared in one go with those of all other small buckets."""
BLOCK = 1024
MAX_HELD_PAIRS = 1 << 20
"""Pairs found before they are folded into clusters, so that memory follows the hashes and not their pairs."""
MIN_GAIN = 0.5
"""A bucket is banded again where that leaves at most so many of its pairs to compare."""


def near_clusters(values: Hashes, max_distance: int, agreed: int = 0) -> Indices:
    """Index of the first member of each value's cluster, for distinct `values` (N,). Near values are linked.

    Only values that agree in the bits of the mask `agreed` are compared. It takes about 50 bytes a value.
    """
    root = np.arange(len(values))
    left: list[Indices] = []
    right: list[Indices] = []
    held = 0
    for a, b in near_pairs(values, max_distance, agreed):
        left.append(a)
        right.append(b)
        held += len(a)
        if held >= MAX_HELD_PAIRS:
            join(root, np.concatenate(left), np.concatenate(right))
            held = 0
            left.clear()
            right.clear()
    if held:
        join(root, np.concatenate(left), np.concatenate(right))
    return roots_of(root, np.arange(len(values)))


def join(root: Indices, left: Indices, right: Indices) -> None:
    """Join the trees of each pair of nodes, in place. `root` has a node above each node, itself for a root.

    A root is the least node of its tree. Each round halves the number of trees that are still to be joined.
    """
    while len(left):
        left, right = roots_of(root, left), roots_of(root, right)
        apart = left != right
        low, high = np.minimum(left, right)[apart], np.maximum(left, right)[apart]
        np.minimum.at(root, high, low)
        above = root[high]
        while len(above) and not np.array_equal(above, further := root[above]):  # chains of new links become short
            root[high] = above = further
        left, right = low, high


def roots_of(root: Indices, nodes: Indices) -> Indices:
    """The root above each node. Shortens the way from these nodes."""
    above = root[nodes]
    while not np.array_equal(above, further := root[above]):
        above = further
    root[nodes] = above
    return above


def near_pairs(values: Hashes, max_distance: int, agreed: int = 0) -> Iterator[Pairs]:
    """Pairs of indices into the distinct `values` (N,), each within `max_distance`, that link all pairs that are.

    Only values that agree in the bits of the mask `agreed` are compared.
    """
    order, sizes = _buckets(values, np.uint64(agreed))
    yield from _compare_small(values, order, sizes, max_distance)
    waiting = list(_large(order, sizes))
    while waiting:
        members = waiting.pop()
        own = values[members]
        bits = _differing_bits(own)
        if len(bits) <= max_distance:  # all are near each other: links to the first suffice
            yield np.full(max(0, len(members) - 1), members[:1]), members[1:]
            continue
        buckets = [_buckets(own, band) for band in bands(bits, max_distance)]
        if sum(float((sizes * sizes).sum()) for _, sizes in buckets) > MIN_GAIN * len(members) ** 2:
            yield from _compare_all(values, members, max_distance)
            continue
        for order, sizes in buckets:
            yield from _compare_small(values, members[order], sizes, max_distance)
            waiting += _large(members[order], sizes)


def bands(bits: Hashes, max_distance: int) -> list[np.uint64]:
    """Masks of the bands of the given bit positions: two values within the distance agree in one of them.

    The bits of a band lie far apart: neighbours are alike together (a white margin), and would crowd a bucket.
    """
    of_bits = np.uint64(1) << bits
    return [np.bitwise_or.reduce(of_bits[number :: max_distance + 1]) for number in range(max_distance + 1)]


def _differing_bits(values: Hashes) -> Hashes:
    """Positions of the bits that are not the same in all values."""
    bits = np.arange(HASH_BITS, dtype=np.uint64)
    differing = np.bitwise_or.reduce(values) ^ np.bitwise_and.reduce(values)
    is_differing: NDArray[np.bool_] = (differing >> bits) & np.uint64(1) == 1
    return bits[is_differing]


def _buckets(values: Hashes, band: np.uint64) -> tuple[Indices, Indices]:
    """(order, sizes): values in that order lie bucket by bucket, a bucket holding those that agree in the band."""
    kept = values & band
    order = np.argsort(kept, kind="stable")
    changes = np.flatnonzero(np.diff(kept[order])) + 1
    return order, np.diff(changes, prepend=0, append=len(values))


def _large(members: Indices, sizes: Indices) -> Iterator[Indices]:
    """The members of each bucket of more than SMALL_BUCKET."""
    stops = np.cumsum(sizes)
    for at in np.flatnonzero(sizes > SMALL_BUCKET):
        yield members[stops[at] - sizes[at] : stops[at]]


def _compare_small(values: Hashes, members: Indices, sizes: Indices, max_distance: int) -> Iterator[Pairs]:
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


def _compare_all(values: Hashes, members: Indices, max_distance: int) -> Iterator[Pairs]:
    """Near pairs among all members, a block against a block at a time."""
    own = values[members]
    for low in range(0, len(own), BLOCK):
        for high in range(low, len(own), BLOCK):
            differing = np.bitwise_count(own[low : low + BLOCK, None] ^ own[None, high : high + BLOCK])
            a, b = np.divmod(np.flatnonzero(differing <= max_distance), differing.shape[1])
            apart = low + a < high + b
            yield members[low + a[apart]], members[high + b[apart]]
