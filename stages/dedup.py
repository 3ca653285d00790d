"""Keep one of every group of images that are the same or look the same.

Reads   source_sha256 (string), source_dhash (uint64), original_width_px (int32), original_height_px (int32),
        caption_num_words (int32) and instruction (string), where some stage wrote them
Writes  duplicate_cluster_id (string), duplicate_cluster_size (int32)
Drops   all of a cluster but its best: most original pixels, then most caption words, then smallest sample_id, then
        first shard. Different edits of one image are no duplicates: they have different instructions
Source  dHash with banding: two hashes within distance d agree in one of d + 1 bands of their bits (pigeonhole). Real
        hashes crowd: all images with a white border share most of their bands. So a crowded bucket is banded again by
        the bits that still differ inside it, and where that would not pay, its pairs are compared block by block.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.stage import GlobalStage, Needs, ShardTables
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipeline.context import Context

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


class DuplicateReject(StrEnum):
    """Why a row is a duplicate of the one kept."""

    EXACT = "duplicate_exact"  # the same bytes
    NEAR = "duplicate_near"  # a perceptual hash within max_distance, directly or through others


class Dedup(GlobalStage):
    """Clusters by equal bytes and by perceptual hashes that differ in at most `max_distance` bits."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_sha256", "source_dhash", "original_width_px", "original_height_px")
    reads_if_present: ClassVar = ("caption_num_words", "instruction")
    writes: ClassVar = ("duplicate_cluster_id", "duplicate_cluster_size")
    rejects: ClassVar = DuplicateReject
    needs: ClassVar = Needs(packages=("scipy",))

    max_distance: int | None = Field(default=3, ge=0, le=16)
    """Bits of the 64-bit dHash; none: only images with equal bytes are duplicates."""

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """A function from light columns of all shards to a verdict a shard, in about 100 bytes a row."""

        def verdicts(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            rows = _gather(tables)
            cluster = by_edit(self.clusters(rows["sha"], rows["dhash"]), rows["edit"])
            kept = best_of_clusters(cluster, rows)
            sizes = np.bincount(cluster)
            ctx.notes["clusters of two or more"] += int((sizes > 1).sum())
            start = 0
            for name, count in rows["shards"]:
                stop = start + count
                yield name, _verdict(rows, kept[cluster[start:stop]], sizes[cluster[start:stop]], start)
                start = stop

        return verdicts

    def clusters(self, sha: NDArray[Any], dhash: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Cluster number of each row: connected components of equal bytes and near hashes.

        `sha` (N,) fixed-width bytes, `dhash` (N,) uint64; returns (N,) int64.
        """
        if self.max_distance is None or not len(sha):
            _, by_bytes = np.unique(sha, return_inverse=True)
            return by_bytes.astype(np.int64)
        values, by_hash = np.unique(dhash, return_inverse=True)  # equal bytes have equal hashes
        return near_clusters(values, self.max_distance)[by_hash]


def by_edit(cluster: NDArray[np.int64], edit: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The clusters (N,), each split into those of one edit (N,)."""
    _, split = np.unique(np.stack([cluster.astype(np.uint64), edit]), axis=1, return_inverse=True)
    return split.astype(np.int64).reshape(-1)


def best_of_clusters(cluster: NDArray[np.int64], rows: dict[str, Any]) -> NDArray[np.int64]:
    """Row number of the row kept for each cluster, by the rule in this module's docstring."""
    order = np.lexsort((np.arange(len(cluster)), rows["id"], -rows["words"], -rows["pixels"], cluster))
    _, first = np.unique(cluster[order], return_index=True)
    return order[first]


def _gather(tables: ShardTables) -> dict[str, Any]:
    columns: dict[str, list[NDArray[Any]]] = {"id": [], "sha": [], "dhash": [], "pixels": [], "words": [], "edit": []}
    shards: list[tuple[str, int]] = []
    for name, table in tables():
        shards.append((name, table.num_rows))
        if not table.num_rows:
            continue
        columns["id"].append(np.array(table[SAMPLE_ID].to_pylist(), dtype="S"))
        columns["sha"].append(np.array([bytes.fromhex(s) for s in table["source_sha256"].to_pylist()], dtype="V32"))
        columns["dhash"].append(table["source_dhash"].to_numpy().astype(np.uint64))
        width, height = (table[f"original_{side}_px"].to_numpy().astype(np.int64) for side in ("width", "height"))
        columns["pixels"].append(width * height)
        words = table["caption_num_words"].to_numpy() if "caption_num_words" in table.column_names else width * 0
        columns["words"].append(words.astype(np.int64))
        instructions = table["instruction"].to_pylist() if "instruction" in table.column_names else [None] * len(width)
        columns["edit"].append(np.array([_edit_number(text) for text in instructions], np.uint64))
    empty = {"id": "S1", "sha": "V32", "dhash": np.uint64, "pixels": np.int64, "words": np.int64, "edit": np.uint64}
    return {k: np.concatenate(v) if v else np.empty(0, empty[k]) for k, v in columns.items()} | {"shards": shards}


def _edit_number(instruction: str | None) -> int:
    """64 bits of the instruction's hash, 0 where a row is no edit."""
    if instruction is None:
        return 0
    return int.from_bytes(hashlib.sha256(instruction.encode()).digest()[:8], "big")


def _verdict(rows: dict[str, Any], best: NDArray[np.int64], sizes: NDArray[np.int64], start: int) -> pa.Table:
    """The verdict on the rows from `start` on: for each the row kept for its cluster, and the cluster's size."""
    own = np.arange(start, start + len(best))
    same_bytes = rows["sha"][own] == rows["sha"][best]
    reasons = [
        None if i == b else (DuplicateReject.EXACT if same else DuplicateReject.NEAR).value
        for i, b, same in zip(own, best, same_bytes, strict=True)
    ]
    kept_ids = [i.decode() for i in rows["id"][best]]
    details = [f"kept {k}" if r else None for k, r in zip(kept_ids, reasons, strict=True)]
    return pa.table(
        {
            SAMPLE_ID: pa.array([i.decode() for i in rows["id"][own]], pa.string()),
            "duplicate_cluster_id": pa.array(kept_ids, pa.string()),
            "duplicate_cluster_size": pa.array(sizes, pa.int32()),
            REJECT_REASON: pa.array(reasons, pa.string()),
            REJECT_DETAIL: pa.array(details, pa.string()),
        }
    )


def near_clusters(values: NDArray[np.uint64], max_distance: int) -> Indices:
    """Cluster number of each of the distinct `values` (N,). Values within `max_distance` bits are linked."""
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
        if len(bits) <= max_distance:  # all are near each other: links to the first suffice
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
