"""Finds, for each of many hashes, the nearest one of a list, exactly, in time that hardly grows with the list.

A hash of 64 bits is cut into four bands of 16. Of two hashes within distance d at least one band differs in at most
d // 4 bits (pigeonhole). So a table has, for each of the 65,536 values of a band, the hashes of the list whose band is
so near to it. It holds 1, 17, 137 or 697 entries a hash and band for d // 4 of 0 to 3, four bytes each.

Source  Norouzi et al. 2012, multi-index hashing, with the near values of a band on the side of the list.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Indices = NDArray[np.int64]

HASH_BITS = 64
NUM_BANDS = 4
BAND_BITS = HASH_BITS // NUM_BANDS
MAX_CANDIDATES = 1 << 20
"""Candidates compared at once, so that memory does not follow the rows of a batch."""
MAX_DISTANCE = 4 * NUM_BANDS - 1
"""Greatest distance that can be asked for; at 16 bits and more two photographs in a few thousand meet by chance."""

MAX_TABLE_BYTES = 8 << 30
"""Most memory of the tables of one worker; a list of a benchmark takes a thousandth of it."""

# N hashes of the list, Q queries


class Nearest(NamedTuple):
    """For each query the distance of the nearest entry, and its number; -1 where none is near."""

    distance_Q: Indices
    entry_Q: Indices


class HashLookup:
    """The entries of a list, each two hashes. An entry is near where both of its hashes are within `max_distance`."""

    def __init__(self, dhash_N: Hashes, phash_N: Hashes, max_distance: int) -> None:
        """Make the tables. Raises ValueError for a distance above MAX_DISTANCE and tables above MAX_TABLE_BYTES."""
        if not 0 <= max_distance <= MAX_DISTANCE:
            raise ValueError(f"max_distance is {max_distance}; expected 0 to {MAX_DISTANCE}")
        num_bytes = _table_bytes(len(phash_N), max_distance // NUM_BANDS)
        if num_bytes > MAX_TABLE_BYTES:
            raise ValueError(
                f"{len(phash_N):,} hashes take {num_bytes / 2**30:.0f} GiB of memory a worker at max_distance "
                f"{max_distance}; expected at most {MAX_TABLE_BYTES >> 30} GiB: give shorter lists, or a smaller "
                "max_distance"
            )
        self._dhash_N, self._phash_N, self._max_distance = dhash_N, phash_N, max_distance
        # pHash is cut into bands: half of its bits are set in any image, so its bands do not crowd
        self._tables = [_table(band_N, max_distance // NUM_BANDS) for band_N in _bands(phash_N)]

    def nearest(self, dhash_Q: Hashes, phash_Q: Hashes) -> Nearest:
        """The nearest entry of each query: by the greater of both distances, then the first in the list."""
        far = HASH_BITS + 1
        # one number to be least: the distance above, the entry below
        best_Q = np.full(len(dhash_Q), far << 32, np.int64)
        for (start, entry), band_Q in zip(self._tables, _bands(phash_Q), strict=True):
            for query, place in _candidates(start, band_Q):
                found = entry[place].astype(np.int64)
                distance = np.maximum(
                    np.bitwise_count(dhash_Q[query] ^ self._dhash_N[found]),
                    np.bitwise_count(phash_Q[query] ^ self._phash_N[found]),
                )
                near = np.flatnonzero(distance <= self._max_distance)
                np.minimum.at(best_Q, query[near], (distance[near].astype(np.int64) << 32) | found[near])
        distance_Q, is_near_Q = best_Q >> 32, best_Q < far << 32
        return Nearest(np.where(is_near_Q, distance_Q, -1), np.where(is_near_Q, best_Q & 0xFFFFFFFF, -1))


def _bands(hash_N: Hashes) -> list[Indices]:
    """The value of each band. Its bits lie far apart, as neighbours are alike together."""
    bands = [np.zeros(len(hash_N), np.int64) for _ in range(NUM_BANDS)]
    for bit in range(HASH_BITS):
        is_set = (hash_N >> np.uint64(bit)) & np.uint64(1)
        bands[bit % NUM_BANDS] |= is_set.astype(np.int64) << (bit // NUM_BANDS)
    return bands


def _table_bytes(num_hashes: int, radius: int) -> int:
    """Memory of the entries of all tables."""
    near_values = sum(comb(BAND_BITS, size) for size in range(radius + 1))
    return NUM_BANDS * near_values * num_hashes * np.dtype(np.int32).itemsize


def _table(band_N: Indices, radius: int) -> tuple[Indices, NDArray[np.int32]]:
    """(start, entries): entries[start[v] : start[v + 1]] are those whose band is within `radius` bits of value v."""
    masks = [
        sum(1 << bit for bit in bits) for size in range(radius + 1) for bits in combinations(range(BAND_BITS), size)
    ]
    counts = np.zeros(1 << BAND_BITS, np.int64)
    for mask in masks:
        counts += np.bincount(band_N ^ mask, minlength=1 << BAND_BITS)
    start = np.concatenate([[0], np.cumsum(counts)])
    entries = np.empty(int(start[-1]), np.int32)
    free = start[:-1].copy()
    order = np.argsort(band_N, kind="stable").astype(np.int32)
    sizes = np.bincount(band_N, minlength=1 << BAND_BITS)
    values = np.flatnonzero(sizes)
    within = np.arange(len(order)) - np.repeat(np.cumsum(sizes[values]) - sizes[values], sizes[values])
    for mask in masks:
        near = values ^ mask
        entries[np.repeat(free[near], sizes[values]) + within] = order
        free[near] += sizes[values]
    return start, entries


def _candidates(start: Indices, band_Q: Indices) -> Iterator[tuple[Indices, Indices]]:
    """(query, place in the entries) of every candidate, at most about MAX_CANDIDATES of them at a time."""
    sizes_Q = start[band_Q + 1] - start[band_Q]
    ends_Q = np.cumsum(sizes_Q)
    first = 0
    while first < len(band_Q):
        done = ends_Q[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends_Q, done + MAX_CANDIDATES, side="right")))
        sizes = sizes_Q[first:last]
        query = np.repeat(np.arange(first, last), sizes)
        within = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield query, np.repeat(start[band_Q[first:last]], sizes) + within
        first = last
