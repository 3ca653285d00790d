"""The facts of a row by which duplicates are chosen, and the verdicts on clusters whose rows lie in one part."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ContractError
from pipeline.partitions import batches, hash_numbers, hash_texts, sort_keys
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Hashes = NDArray[np.uint64]

SHA_BYTES = 32
KEPT, EXACT, NEAR = range(3)
"""Outcomes of a row in a cluster of two or more."""


def facts_of(number: int, table: pa.Table) -> pa.Table:
    """The facts of a shard's rows, about 90 bytes each. `number` is the shard's.

    `key` (uint64) is the hash of the image and `edit` (uint64) that of the instruction, 0 where a row is no edit: rows
    of one cluster have the same in both.
    """
    width, height = (table[f"original_{side}_px"].to_numpy().astype(np.int64) for side in ("width", "height"))
    size = table.num_rows
    words = table["caption_num_words"].to_numpy() if "caption_num_words" in table.column_names else np.zeros(size)
    edit = hash_texts(table["instruction"]) if "instruction" in table.column_names else np.zeros(size, np.uint64)
    return pa.table(
        {
            "key": table["source_dhash"].to_numpy().astype(np.uint64), "edit": edit, "pixels": width * height,
            "words": words.astype(np.int32), "sha": _sha_bytes(table["source_sha256"]), "id": table[SAMPLE_ID],
            "shard": np.full(size, number, np.int32), "row": np.arange(size, dtype=np.int32),
        }
    )  # fmt: skip


def keyed_by_bytes(facts: pa.Table) -> pa.Table:
    """The facts, for clusters of equal bytes alone: `key` and `edit` are 128 bits of hash of bytes and edit."""
    sha, edit = facts["sha"], facts["edit"].to_numpy()
    return with_numbers(facts, key=hash_texts(sha), edit=hash_numbers(hash_texts(sha, 1) + edit))


def with_numbers(rows: pa.Table, **columns: NDArray[np.generic]) -> pa.Table:
    """The rows, with these columns added or replaced."""
    for name, values in columns.items():
        at = rows.schema.get_field_index(name)
        rows = rows.append_column(name, pa.array(values)) if at < 0 else rows.set_column(at, name, pa.array(values))
    return rows


def _sha_bytes(texts: pa.ChunkedArray) -> pa.Array:
    """The digests behind texts of 64 hex digits. Raises `ContractError` for any other text."""
    array = texts.combine_chunks().cast(pa.large_binary())
    if not pc.all(pc.equal(pc.fill_null(pc.binary_length(array), 0), 2 * SHA_BYTES)).as_py():
        raise ContractError("source_sha256: expected 64 hex digits in every row")
    start = 2 * SHA_BYTES * array.offset
    digits = np.frombuffer(array.buffers()[2], np.uint8)[start : start + 2 * SHA_BYTES * len(array)]
    values = _BYTE_OF_DIGITS[digits.view("<u2")]
    if values.min(initial=0) < 0:
        raise ContractError("source_sha256: expected 64 hex digits in every row")
    found = pa.py_buffer(values.astype(np.uint8))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(SHA_BYTES), len(array), [None, found])


def _byte_of_digits() -> NDArray[np.int16]:
    """The byte of each pair of hex digits, by the two characters as a little-endian number; -1 for other characters."""
    values = np.full(1 << 16, -1, np.int16)
    for high, low in product("0123456789abcdefABCDEF", repeat=2):
        values[ord(high) | ord(low) << 8] = int(high + low, 16)
    return values


_BYTE_OF_DIGITS = _byte_of_digits()


def settle(rows: Callable[[], Iterable[pa.Table]]) -> Iterator[pa.Table]:
    """The verdicts on the rows in clusters of two or more; every row of a cluster is among these rows.

    Yields tables of `shard`, `row`, `kept` (id), `size` and `outcome`. Two passes over the rows. It takes 350 bytes at
    the peak for each cluster, also of one row: memory does not follow the size of a cluster.
    """
    best = None
    for batch in batches(rows()):
        own = with_numbers(batch, size=np.ones(batch.num_rows, np.int64))
        best = _best(own if best is None else pa.concat_tables([best, own]).combine_chunks())
    if best is None:
        return
    best = best.filter(pc.greater(best["size"], 1)).combine_chunks()
    if not best.num_rows:
        return
    for batch in batches(rows()):
        own, kept = _joined(batch, best)
        if own.num_rows:
            yield _verdicts(own, kept)


def num_kept(verdicts: pa.Table) -> int:
    """Rows of the verdicts that are kept: one for each cluster of two or more."""
    return int(np.count_nonzero(verdicts["outcome"].to_numpy() == KEPT))


def _best(rows: pa.Table) -> pa.Table:
    """The best row of each cluster, in the order of `key` and `edit`. `size` becomes that of the cluster."""
    number = {name: rows[name].to_numpy() for name in rows.column_names if name not in ("sha", "id")}
    rank = (
        number["row"],
        number["shard"],
        *sort_keys(rows["id"]),
        -number["words"].astype(np.int64),
        -number["pixels"],
    )
    order = np.lexsort((*rank, number["edit"], number["key"]))
    key, edit = number["key"][order], number["edit"][order]
    first = np.flatnonzero(np.concatenate([[True], (key[1:] != key[:-1]) | (edit[1:] != edit[:-1])]))
    return with_numbers(rows.take(order[first]), size=np.add.reduceat(number["size"][order], first))


def _joined(rows: pa.Table, best: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows of the clusters in `best`, and for each of them the best row of its cluster."""
    keys, edits = np.unique(best["key"].to_numpy()), np.unique(best["edit"].to_numpy())

    def codes(table: pa.Table) -> Numbers:
        """Numbers that sort like (key, edit) of `best`."""
        at = np.searchsorted(keys, table["key"].to_numpy()) * (len(edits) + 1)
        found: Numbers = at + np.searchsorted(edits, table["edit"].to_numpy())
        return found

    at = np.minimum(np.searchsorted(codes(best), codes(rows)), best.num_rows - 1)
    is_in = np.logical_and.reduce([rows[name].to_numpy() == best[name].to_numpy()[at] for name in ("key", "edit")])
    own = np.flatnonzero(is_in)
    return rows.take(own), best.take(at[own])


def _verdicts(rows: pa.Table, kept: pa.Table) -> pa.Table:
    is_kept = np.logical_and.reduce([rows[name].to_numpy() == kept[name].to_numpy() for name in ("shard", "row")])
    is_exact = pc.equal(rows["sha"], kept["sha"]).to_numpy()
    outcome = np.where(is_kept, KEPT, np.where(is_exact, EXACT, NEAR)).astype(np.int8)
    columns = {"shard": rows["shard"], "row": rows["row"], "kept": kept["id"]}
    return pa.table({**columns, "size": kept["size"].cast(pa.int32()), "outcome": outcome})
