"""Partitions of rows: hashes of columns, parts by hash, sort keys of texts, and tables in batches of a good size.

Everything works on whole columns. The hashes are the same on every machine and in every process. They spread values
evenly and are no protection against values that were chosen to collide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Indices = NDArray[np.int64]

ROWS_PER_BATCH = 1 << 17
"""Rows that `batches` puts together: enough to make calls cheap, and a few MB of light columns."""
TEXTS_PER_PASS = 1 << 14
"""Texts that are hashed at once, so that memory does not follow the length of the column."""
WORD_BYTES = 8
_ODD = 0x9E3779B97F4A7C15
_LOW_BITS = (1 << 64) - 1


def hash_numbers(values: Hashes, seed: int = 0) -> Hashes:
    """A hash of each number, another one for each seed. Different numbers have different hashes.

    Source  Steele et al. 2014, Fast splittable pseudorandom number generators (the finalizer of SplitMix64).
    """
    mixed = values + np.uint64((seed + 1) * _ODD & _LOW_BITS)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_texts(texts: pa.Array | pa.ChunkedArray, seed: int = 0) -> Hashes:
    """A hash of each text or binary value, another one for each seed; 0 where there is no value."""
    hashes = np.zeros(len(texts), np.uint64)
    for start, array in _passes(texts):
        words, counts, lengths = _words(array)
        mixed = hash_numbers(hash_numbers(words) + _positions(counts).astype(np.uint64) * np.uint64(_ODD), seed)
        sums = np.add.reduceat(mixed, np.cumsum(counts) - counts)
        found = hash_numbers(sums + lengths.astype(np.uint64), seed)
        if array.null_count:
            found[array.is_null().to_numpy(zero_copy_only=False)] = 0
        hashes[start : start + len(array)] = found
    return hashes


def distinct(values: Hashes) -> Hashes:
    """The distinct values, sorted. `np.unique` looks each up in a table first, which takes ten times as long here."""
    found = np.sort(values)
    return found[np.concatenate([[True], found[1:] != found[:-1]])] if len(found) else found


def part_of(hashes: Hashes, num_parts: int) -> Indices:
    """The part of each hash, 0 to `num_parts` - 1."""
    return (hashes % np.uint64(num_parts)).astype(np.int64)


def sort_keys(texts: pa.Array | pa.ChunkedArray) -> list[Hashes]:
    """Numbers that sort like the texts, as keys for `np.lexsort`: the first 8 bytes of the UTF-8 are the last key.

    It takes 8 bytes a row for each 8 bytes of the longest text. No value sorts like an empty text.
    """
    found = [(start, *_words(array)[:2]) for start, array in _passes(texts)]
    keys = np.zeros((max((int(counts.max()) for _, _, counts in found), default=0), len(texts)), np.uint64)
    for start, words, counts in found:
        keys[_positions(counts), np.repeat(np.arange(start, start + len(counts)), counts)] = words.byteswap()
    return list(keys[::-1])


def batches(tables: Iterable[pa.Table], num_rows: int = ROWS_PER_BATCH) -> Iterator[pa.Table]:
    """The rows of the tables in tables of at least `num_rows`, but for the last; none is empty."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.num_rows
        if size >= num_rows:
            yield pa.concat_tables(held).combine_chunks()
            held, size = [], 0
    if size:
        yield pa.concat_tables(held).combine_chunks()


def _passes(texts: pa.Array | pa.ChunkedArray) -> Iterator[tuple[int, pa.Array]]:
    """(first row, array) of parts of the column, as binary values with 64-bit offsets."""
    start = 0
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        for begin in range(0, len(chunk), TEXTS_PER_PASS):
            array = chunk.slice(begin, TEXTS_PER_PASS).cast(pa.large_binary())
            yield start, array
            start += len(array)


def _words(array: pa.Array) -> tuple[Hashes, Indices, Indices]:
    """(words, words of each text, bytes of each text): the bytes of all texts in little-endian words.

    Each text has at least one word; its last one is filled up with zeros.
    """
    array = array.fill_null(b"")
    _, offset_bytes, data_bytes = array.buffers()
    offsets = np.frombuffer(offset_bytes, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_bytes or b"", np.uint8)[offsets[0] : offsets[-1]]
    padded = np.concatenate([data, np.zeros(WORD_BYTES, np.uint8)])
    at_any_byte = np.ndarray((len(data) + 1,), "<u8", buffer=padded.data, strides=(1,))
    lengths = np.diff(offsets)
    counts = np.maximum(1, -(-lengths // WORD_BYTES))
    done = _positions(counts) * WORD_BYTES
    words = at_any_byte[np.repeat(offsets[:-1] - offsets[0], counts) + done].astype(np.uint64)
    left = np.repeat(lengths, counts) - done
    short = np.flatnonzero(left < WORD_BYTES)
    words[short] &= (np.uint64(1) << (8 * left[short]).astype(np.uint64)) - np.uint64(1)
    return words, counts, lengths


def _positions(counts: Indices) -> Indices:
    """0, 1, 2 … within each group of so many."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
