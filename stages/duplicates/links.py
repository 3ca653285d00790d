"""Links of near hashes, found in parts: hashes by band, links within a part, and the root of each linked hash.

A hash goes to one part for each of the d + 1 bands of its bits, so that two near hashes meet in at least one part. A
part gives one link for each hash that is near another there, which joins it to the first of its cluster.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa

from pipeline.partitions import ROWS_PER_BATCH, batches, distinct, hash_numbers, part_of
from stages.duplicates.near_hashes import HASH_BITS, bands, join, near_clusters, roots_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Pass = Callable[[], Iterator[Hashes]]

MAX_VALUES = 1 << 20
"""Hashes of one band that a part holds at once, at about 130 bytes each; more are read piece by piece."""
ALL_BITS = np.arange(HASH_BITS, dtype=np.uint64)
ALL_ONES = (1 << HASH_BITS) - 1


def by_band(values: Hashes, max_distance: int, num_parts: int) -> Iterator[tuple[pa.Table, NDArray[np.int64]]]:
    """Tables of the hashes and the number of a band, and the part to which each goes: 9 bytes a hash and band."""
    for number, band in enumerate(bands(ALL_BITS, max_distance)):
        numbers = np.full(len(values), number, np.int8)
        yield pa.table({"value": values, "band": numbers}), part_of(hash_numbers(values & band, number), num_parts)


def links_of_part(tables: Callable[[], Iterable[pa.Table]], max_distance: int) -> Iterator[pa.Table]:
    """Links (`value`, `first`) that join all hashes of a part that are near others in the band that sent them here.

    `tables` are those of `by_band`. The part holds about MAX_VALUES hashes, however many share a band: more are split
    by the bands of the bits that still differ, and what then agrees once more is compared a chunk with a chunk.
    """
    for number, band in enumerate(bands(ALL_BITS, max_distance)):

        def own(number: int = number) -> Iterator[Hashes]:
            for table in batches(tables()):
                yield table["value"].to_numpy()[table["band"].to_numpy() == number]

        values = _distinct(own, MAX_VALUES)
        if values is not None:
            yield _links(values, int(band), max_distance)
            continue
        free = _differing(own) & ~int(band)
        num_pieces = _num_halves(own)
        for deeper in sorted({int(band) | int(one) for one in bands(_positions(free), max_distance)}):
            for piece in range(num_pieces):
                yield from _links_by_chunks(_some(own, deeper, num_pieces, {piece}), deeper, max_distance)


def _links_by_chunks(own: Pass, agreed: int, max_distance: int) -> Iterator[pa.Table]:
    """Links of the hashes that agree in the bits `agreed`, a chunk with each other chunk where there are many."""
    values = _distinct(own, MAX_VALUES)
    if values is not None:
        yield _links(values, agreed, max_distance)
        return
    num_chunks = _num_halves(own)
    for chunks in combinations(range(num_chunks), 2):
        values = _distinct(_some(own, ALL_ONES, num_chunks, set(chunks)))
        yield _links(values, agreed, max_distance)


def _links(values: Hashes, agreed: int, max_distance: int) -> pa.Table:
    first = near_clusters(values, max_distance, agreed)
    linked = np.flatnonzero(first != np.arange(len(values)))
    return pa.table({"value": values[linked], "first": values[first[linked]]})


def _num_halves(own: Pass) -> int:
    """The number of pieces of which two together have about MAX_VALUES hashes."""
    return -(-2 * sum(len(values) for values in own()) // MAX_VALUES)


def _some(own: Pass, mask: int, num_pieces: int, pieces: set[int]) -> Pass:
    """The values in some of the pieces into which they fall by their bits in the mask."""

    def some() -> Iterator[Hashes]:
        for values in own():
            piece = part_of(hash_numbers(values & np.uint64(mask), HASH_BITS), num_pieces)
            yield values[np.isin(piece, list(pieces))]

    return some


def _positions(mask: int) -> Hashes:
    """The positions of the bits in the mask."""
    is_in: NDArray[np.bool_] = (np.uint64(mask) >> ALL_BITS) & np.uint64(1) == 1
    return ALL_BITS[is_in]


def _differing(own: Pass) -> int:
    """Mask of the bits that are not the same in all values."""
    any_, all_ = 0, ALL_ONES
    for values in own():
        any_ |= int(np.bitwise_or.reduce(values))
        all_ &= int(np.bitwise_and.reduce(values))
    return any_ & ~all_


@overload
def _distinct(own: Pass) -> Hashes: ...


@overload
def _distinct(own: Pass, most: int) -> Hashes | None: ...


def _distinct(own: Pass, most: int | None = None) -> Hashes | None:
    """The distinct values, or none where there are more than so many."""
    held = np.empty(0, np.uint64)
    waiting: list[Hashes] = []
    for values in own():
        waiting.append(values)
        if sum(len(one) for one in waiting) >= max(ROWS_PER_BATCH, len(held)):
            held, waiting = distinct(np.concatenate([held, *waiting])), []
        if most is not None and len(held) > most:
            return None
    held = distinct(np.concatenate([held, *waiting]))
    return held if most is None or len(held) <= most else None


def roots_of_links(tables: Callable[[], Iterable[pa.Table]]) -> Iterator[pa.Table]:
    """Tables (`value`, `root`) of all linked hashes. The root of a cluster is the least of its hashes.

    Two passes over the links of all parts, in about 40 bytes for each linked hash, whatever the number of links.
    """
    ends = (np.concatenate([table[name].to_numpy() for name in ("value", "first")]) for table in batches(tables()))
    values = _distinct(lambda: ends)
    root = np.arange(len(values))
    for table in batches(tables()):
        join(root, *(np.searchsorted(values, table[name].to_numpy()) for name in ("value", "first")))
    for start in range(0, len(values), ROWS_PER_BATCH):
        nodes = np.arange(start, min(start + ROWS_PER_BATCH, len(values)))
        yield pa.table({"value": values[nodes], "root": values[roots_of(root, nodes)]})


def root_lookup(tables: Iterable[pa.Table]) -> Callable[[Hashes], tuple[NDArray[np.bool_], Hashes]]:
    """A function that says which hashes are linked, and the root of each: itself where it is not linked.

    `tables` are those of `roots_of_links`; the function holds 16 bytes for each hash in them.
    """
    none = np.empty(0, np.uint64)
    roots = pa.concat_tables([pa.table({"value": none, "root": none}), *tables]).sort_by("value")
    value, root = roots["value"].to_numpy(), roots["root"].to_numpy()

    def lookup(hashes: Hashes) -> tuple[NDArray[np.bool_], Hashes]:
        if not len(value):
            return np.zeros(len(hashes), np.bool_), hashes
        at = np.minimum(np.searchsorted(value, hashes), len(value) - 1)
        is_linked = value[at] == hashes
        return is_linked, np.where(is_linked, root[at], hashes)

    return lookup
