"""Keep one of every group of images that are the same or look the same.

Reads   source_sha256 (string), source_dhash (uint64), original_width_px (int32), original_height_px (int32),
        caption_num_words (int32) and instruction (string), where some stage wrote them
Writes  duplicate_cluster_id (string), duplicate_cluster_size (int32)
Drops   all of a cluster but its best: most original pixels, then most caption words, then smallest sample_id, then
        first shard. Different edits of one image are no duplicates: they have different instructions
Source  dHash with banding: two hashes within distance d agree in one of d + 1 bands of their bits (pigeonhole).
        stages/duplicates/ has the search for near hashes and the choice within a cluster.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.partitions import batches, distinct, hash_numbers, part_of
from pipeline.rounds import Round, RoundInput, Rounds, Send
from pipeline.stage import PartitionedStage
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.duplicates.clusters import facts_of, keyed_by_bytes, num_kept, settle, with_numbers
from stages.duplicates.links import by_band, links_of_part, root_lookup, roots_of_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from pipeline.context import Context
    from pipeline.rounds import Received


class DuplicateReject(StrEnum):
    """Why a row is a duplicate of the one kept."""

    EXACT = "duplicate_exact"  # the same bytes
    NEAR = "duplicate_near"  # a perceptual hash within max_distance, directly or through others


OUTCOMES = pa.array([None, DuplicateReject.EXACT.value, DuplicateReject.NEAR.value], pa.string())
"""Reject reason of each outcome."""


class Dedup(PartitionedStage):
    """Clusters by equal bytes and by perceptual hashes that differ in at most `max_distance` bits."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_sha256", "source_dhash", "original_width_px", "original_height_px")
    reads_if_present: ClassVar = ("caption_num_words", "instruction")
    writes: ClassVar = ("duplicate_cluster_id", "duplicate_cluster_size")
    rejects: ClassVar = DuplicateReject

    max_distance: int | None = Field(default=3, ge=0, le=16)
    """Bits of the 64-bit dHash; none: only images with equal bytes are duplicates."""

    def open(self, ctx: Context) -> Rounds:  # noqa: ARG002  no service of the engine is needed
        """The rounds, with the memory that a step takes for each of its rows at the peak.

        `scatter` 100 bytes; `links` 130, of at most MAX_VALUES hashes at once; `join` 40 for each hash that is near
        another; `tally` and `settle` 350 for each image and edit, however many rows it has.
        """
        return Rounds(rounds=self._rounds(), judge=_judge, judge_receives=("verdicts",))

    def _rounds(self) -> tuple[Round, ...]:
        if self.max_distance is None:
            return (
                Round(name="scatter", over="shards", receives=(), run=_scatter_by_bytes),
                Round(name="settle", over="parts", receives=("rows",), run=_settle_rows("rows")),
            )
        return (
            Round(name="scatter", over="shards", receives=(), run=self._scatter),
            Round(name="links", over="parts", receives=("values",), run=self._find_links),
            Round(name="join", over="once", receives=("links",), run=_join),
            Round(name="tally", over="parts", receives=("rows", "roots"), run=_tally),
            Round(name="settle", over="parts", receives=("linked",), run=_settle_rows("linked")),
        )

    def _scatter(self, given: RoundInput, send: Send) -> None:
        """Send the hashes by band to `links`, and the facts of the rows by hash to `tally`."""
        assert self.max_distance is not None
        for facts in _facts(given):
            for table, to in by_band(distinct(facts["key"].to_numpy()), self.max_distance, given.num_parts):
                send("values", table, to)
            send("rows", facts, _part_of_key(facts, "key", given.num_parts))

    def _find_links(self, given: RoundInput, send: Send) -> None:
        """Send links of the near hashes that meet in this part to `join`."""
        assert self.max_distance is not None
        for table in links_of_part(lambda: given.received("values"), self.max_distance):
            send("links", table, np.zeros(table.num_rows, np.int64))


def _facts(given: RoundInput) -> Iterator[pa.Table]:
    """The facts of the rows of the step's shards, in tables large enough to be cut by part."""
    return batches(facts_of(number, table) for number, _, table in given.tables if table.num_rows)


def _scatter_by_bytes(given: RoundInput, send: Send) -> None:
    """Send the facts of the rows to `settle`, by the hash of their bytes."""
    for facts in map(keyed_by_bytes, _facts(given)):
        send("rows", facts, _part_of_key(facts, "key", given.num_parts))


def _join(given: RoundInput, send: Send) -> None:
    """Send each hash that is near another, with the root of its cluster, to `tally`, by hash."""
    for table in roots_of_links(lambda: given.received("links")):
        send("roots", table, _part_of_key(table, "value", given.num_parts))


def _tally(given: RoundInput, send: Send) -> None:
    """Send rows whose hash is linked to `settle`, with the root as their key, and settle the clusters of the others."""
    lookup = root_lookup(given.received("roots"))

    def alone() -> Iterator[pa.Table]:
        for rows in batches(given.received("rows")):
            is_linked, _ = lookup(rows["key"].to_numpy())
            yield rows.filter(pa.array(~is_linked))

    for rows in batches(given.received("rows")):
        is_linked, root = lookup(rows["key"].to_numpy())
        linked = with_numbers(rows, key=root).filter(pa.array(is_linked))
        cluster = hash_numbers(hash_numbers(root) + rows["edit"].to_numpy())
        send("linked", linked, part_of(cluster[is_linked], given.num_parts))
    _send_verdicts(alone, given, send)


def _settle_rows(stream: str) -> Callable[[RoundInput, Send], None]:
    """The function of a step that has all rows of its clusters."""
    return lambda given, send: _send_verdicts(lambda: given.received(stream), given, send)


def _send_verdicts(rows: Callable[[], Iterable[pa.Table]], given: RoundInput, send: Send) -> None:
    """Send the verdicts on rows in clusters of two or more to their shards."""
    given.notes["clusters of two or more"] += 0
    for verdicts in settle(rows):
        given.notes["clusters of two or more"] += num_kept(verdicts)
        send("verdicts", verdicts.drop_columns("shard"), verdicts["shard"].to_numpy().astype(np.int64))


def _part_of_key(table: pa.Table, name: str, num_parts: int) -> NDArray[np.int64]:
    return part_of(hash_numbers(table[name].to_numpy()), num_parts)


def _judge(name: str, table: pa.Table, received: Received) -> pa.Table:  # noqa: ARG001  the name decides nothing
    """The verdict on a shard: what was received, and for all other rows that they are alone."""
    ids = pa.concat_arrays([pa.array([], pa.string()), *table[SAMPLE_ID].chunks])
    sizes = np.ones(len(ids), np.int32)
    outcomes = np.zeros(len(ids), np.int8)
    is_in_cluster = np.zeros(len(ids), np.bool_)
    found = list(received("verdicts"))
    if found:
        verdicts = pa.concat_tables(found).sort_by("row")
        rows = verdicts["row"].to_numpy()
        sizes[rows], outcomes[rows] = verdicts["size"].to_numpy(), verdicts["outcome"].to_numpy()
        is_in_cluster[rows] = True
        ids = pc.replace_with_mask(ids, pa.array(is_in_cluster), verdicts["kept"].combine_chunks())
    reasons = OUTCOMES.take(pa.array(outcomes))
    details = pc.if_else(pc.is_valid(reasons), pc.binary_join_element_wise("kept", ids, " "), None)
    return pa.table(
        {
            SAMPLE_ID: table[SAMPLE_ID], "duplicate_cluster_id": ids, "duplicate_cluster_size": sizes,
            REJECT_REASON: reasons, REJECT_DETAIL: details,
        }
    )  # fmt: skip
