"""Hashes that are the same everywhere, sort keys in the order of bytes, and batches."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import partitions
from pipeline.partitions import batches, distinct, hash_numbers, hash_texts, part_of, sort_keys

TEXTS = st.lists(st.none() | st.text(max_size=40))
LOW = 2**64 - 1


def plain_hash(number, seed=0):
    """SplitMix64 by Python's integers."""
    mixed = number + (seed + 1) * 0x9E3779B97F4A7C15 & LOW
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & LOW
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & LOW
    return mixed ^ mixed >> 31


def plain_text_hash(text, seed=0):
    """The same for a text, word by word."""
    if text is None:
        return 0
    data = text.encode()
    words = [data[at : at + 8] for at in range(0, max(1, len(data)), 8)]
    mixed = [
        plain_hash(plain_hash(int.from_bytes(word, "little")) + place * 0x9E3779B97F4A7C15 & LOW, seed)
        for place, word in enumerate(words)
    ]
    return plain_hash(sum(mixed) + len(data) & LOW, seed)


@given(st.lists(st.integers(0, LOW)), st.integers(0, 100))
def test_hashes_of_numbers_are_splitmix(numbers, seed):
    found = hash_numbers(np.array(numbers, np.uint64), seed)
    assert found.tolist() == [plain_hash(number, seed) for number in numbers]


def test_hashes_are_pinned():
    assert hash_numbers(np.array([0], np.uint64)).tolist() == [0xE220A8397B1DCDAF]  # first of SplitMix64 of seed 0
    assert hash_texts(pa.array(["", "a photograph"])).tolist() == [2558736989570252433, plain_text_hash("a photograph")]


@given(TEXTS, st.integers(0, 3), st.integers(1, 5))
def test_hashes_of_texts_are_those_of_their_words_however_chunked(texts, seed, texts_per_pass):
    expected = [plain_text_hash(text, seed) for text in texts]
    array = pa.array(texts, pa.string())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "TEXTS_PER_PASS", texts_per_pass)
        assert hash_texts(array, seed).tolist() == expected
        chunks = pa.chunked_array([array.slice(0, len(texts) // 2), array.slice(len(texts) // 2)], pa.string())
        assert hash_texts(chunks, seed).tolist() == expected
        assert hash_texts(chunks.cast(pa.large_binary()), seed).tolist() == expected


def test_texts_of_near_content_have_hashes_of_their_own():
    words = ["".join(chr(97 + n // 9**at % 9) for at in range(6)) for n in range(9**5)]
    texts = [*words, *(f"12345678{word}" for word in words), *(f"{word}  12345678" for word in words), "", "\0", "\0\0"]
    assert len(distinct(hash_texts(pa.array(texts)))) == len(set(texts))


def test_parts_are_of_even_size():
    counts = np.bincount(part_of(hash_texts(pa.array([f"{n:016x}" for n in range(80_000)])), 8))
    assert len(counts) == 8
    assert counts.min() > 9_500
    assert np.bincount(part_of(hash_numbers(np.arange(80_000, dtype=np.uint64)), 8)).min() > 9_500


@given(TEXTS)
def test_sort_keys_sort_like_the_bytes_of_the_texts(texts):
    texts = [None if text is None else text.replace("\0", "") for text in texts]
    keys = sort_keys(pa.array(texts, pa.string()))
    order = np.lexsort((np.arange(len(texts)), *keys)).tolist()
    assert order == sorted(range(len(texts)), key=lambda n: (texts[n] or "").encode())


@given(st.lists(st.integers(0, 9)))
def test_distinct_values_are_sorted_and_once(numbers):
    assert distinct(np.array(numbers, np.uint64)).tolist() == sorted(set(numbers))


@given(st.lists(st.integers(0, 5)), st.integers(1, 7))
def test_batches_have_the_rows_in_order_and_none_is_small(sizes, num_rows):
    numbers = iter(range(sum(sizes)))
    tables = [pa.table({"n": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    made = list(batches(tables, num_rows))
    assert [n for table in made for n in table["n"].to_pylist()] == list(range(sum(sizes)))
    assert all(table.num_rows >= num_rows for table in made[:-1])
    assert all(table.num_rows for table in made)
