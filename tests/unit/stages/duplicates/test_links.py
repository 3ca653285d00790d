"""Links found in parts join the same hashes as all pairs, within bounded memory."""

import numpy as np
import pytest
from _crowded_hashes import HASHES, brute_clusters, crowds
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.duplicates import links
from stages.duplicates.links import by_band, links_of_part, roots_of_links


def sent(values, distance, num_parts):
    """Tables of each part, from hashes in two groups."""
    parts = [[] for _ in range(num_parts)]
    for group in (values[: len(values) // 2], values[len(values) // 3 :]):
        for table, to in by_band(np.array(group, np.uint64), distance, num_parts):
            for part in range(num_parts):
                parts[part].append(table.take(np.flatnonzero(to == part)))
    return parts


def roots(values, distance, num_parts):
    """{hash: root} of linked hashes, by way of parts."""
    found = [
        table for tables in sent(values, distance, num_parts) for table in links_of_part(lambda t=tables: t, distance)
    ]
    rows = [row for made in roots_of_links(lambda: found) for row in made.to_pylist()]
    return {row["value"]: row["root"] for row in rows}


def brute_roots(values, distance):
    """The same by brute force: the least hash of each cluster of two or more."""
    labels = brute_clusters(values, distance)
    return {v: values[own] for v, own in zip(values, labels, strict=True) if labels.count(own) > 1}


@settings(max_examples=100, deadline=None)
@given(values=crowds(), distance=st.integers(0, 16), num_parts=st.sampled_from([1, 3, 8]))
def test_links_of_parts_join_what_all_pairs_do(values, distance, num_parts):
    assert roots(values, distance, num_parts) == brute_roots(values, distance)


@settings(max_examples=40, deadline=None)
@given(values=crowds(), distance=st.integers(0, 4))
def test_a_part_that_holds_few_hashes_at_once_finds_the_same(values, distance):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links, "MAX_VALUES", 8)
        patch.setattr(links, "ROWS_PER_BATCH", 3)
        assert roots(values, distance, 1) == brute_roots(values, distance)


def test_a_band_that_all_hashes_share_is_read_piece_by_piece(monkeypatch):
    values = np.unique(np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64) & np.uint64(0x7777 << 24))
    wide = np.unique(np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64) & np.uint64(0x77777777 << 20))
    expected = [roots(own.tolist(), 3, 1) for own in (values, wide)]
    monkeypatch.setattr(links, "MAX_VALUES", 1000)
    seen = []
    whole = links.near_clusters
    monkeypatch.setattr(links, "near_clusters", lambda own, *rest: seen.append(len(own)) or whole(own, *rest))
    assert [roots(own.tolist(), 3, 1) for own in (values, wide)] == expected
    assert max(seen) <= 1000
    assert len(seen) > 8


@given(st.lists(HASHES, min_size=2, max_size=20, unique=True), st.integers(0, 16))
def test_near_hashes_meet_in_a_part_by_one_band_at_least(values, distance):
    for part in range(5):
        near = values[0] ^ sum(1 << bit for bit in range(part, part + distance))
        bands = [to.tolist() for _, to in by_band(np.array([values[0], near], np.uint64), distance, 1000)]
        assert any(a == b for a, b in bands)
        assert len(bands) == distance + 1
