"""Duplicate clusters against a brute force over all pairs, the rule of what is kept, and crowded hashes."""

import time

import numpy as np
import pyarrow as pa
import pytest
from _inputs import table
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.context import Context
from stages.dedup import Dedup, near_clusters

HASHES = st.integers(0, 2**64 - 1)


def sha(number):
    return f"{number:064x}"


def run(shards, **options):
    """({shard: rows}, notes) of a dedup over shards of (sha number, dhash, pixels, words, id) rows."""
    ctx = Context(stage_name="test")
    tables = [
        (
            name,
            table(
                [r[4] for r in rows],
                source_sha256=[sha(r[0]) for r in rows],
                source_dhash=[r[1] for r in rows],
                original_width_px=[r[2] for r in rows],
                original_height_px=[1] * len(rows),
                caption_num_words=[r[3] for r in rows],
            )
            if rows
            else pa.table({"sample_id": pa.array([], pa.string())}),
        )
        for name, rows in shards.items()
    ]
    return {name: made.to_pylist() for name, made in Dedup(**options).open(ctx)(lambda: tables)}, dict(ctx.notes)


def brute_clusters(hashes, distance):
    """Label of each hash: the smallest index that it is linked to, by relaxation over all pairs."""
    labels = list(range(len(hashes)))
    changed = True
    while changed:
        changed = False
        for i, a in enumerate(hashes):
            for j, b in enumerate(hashes):
                if (a ^ b).bit_count() <= distance and labels[j] < labels[i]:
                    labels[i], changed = labels[j], True
    return labels


def same_partition(left, right):
    pairs = set(zip(left, right, strict=True))
    return len(pairs) == len(set(left)) == len(set(right))


@st.composite
def crowds(draw):
    """Distinct hashes that lie around a few centres, so that near pairs and chains of them are common."""
    centres = draw(st.lists(HASHES, min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=5)
    made = draw(st.lists(st.tuples(st.sampled_from(centres), flips), min_size=1, max_size=30))
    hashes = set()
    for centre, bits in made:
        for bit in bits:
            centre ^= 1 << bit  # noqa: PLW2901
        hashes.add(centre)
    return sorted(hashes)


@settings(max_examples=150, deadline=None)
@given(crowds(), st.integers(0, 16))
def test_clusters_are_those_of_all_pairs(hashes, distance):
    found = near_clusters(np.array(hashes, np.uint64), distance)
    assert same_partition(found.tolist(), brute_clusters(hashes, distance))


@pytest.mark.parametrize("distance", [0, 1, 3, 5, 8, 16])
def test_large_crowds_have_the_clusters_of_all_pairs(distance):
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(distance)
    crowd = rng.integers(0, 2, (600, 14)) @ (np.uint64(1) << rng.choice(64, 14, replace=False).astype(np.uint64))
    masked = rng.integers(0, 2**64, 600, dtype=np.uint64) & rng.integers(0, 2**64, 600, dtype=np.uint64)
    sparse = masked & rng.integers(0, 2**64, 600, dtype=np.uint64) & rng.integers(0, 2**64, 600, dtype=np.uint64)
    values = np.unique(np.concatenate([crowd.astype(np.uint64), masked, sparse]))
    near = np.bitwise_count(values[:, None] ^ values[None, :]) <= distance
    expected = connected_components(csr_array(near), directed=False)[1]
    assert same_partition(near_clusters(values, distance).tolist(), expected.tolist())


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_verdicts_follow_from_clusters_whatever_the_shards(data):
    crowd = data.draw(crowds())
    picks = data.draw(st.lists(st.sampled_from(crowd), min_size=1, max_size=25))
    rows = [
        (crowd.index(h) if data.draw(st.booleans()) else 1000 + n, h, data.draw(st.integers(1, 3)),
         data.draw(st.integers(0, 2)), f"{n:016x}")
        for n, h in enumerate(picks)
    ]  # fmt: skip
    distance = data.draw(st.sampled_from([None, 0, 2, 3]))
    cut = data.draw(st.integers(0, len(rows)))
    verdicts, notes = run({"a": rows[:cut], "b": [], "c": rows[cut:]}, max_distance=distance)
    assert list(verdicts) == ["a", "b", "c"]
    made = [row for name in verdicts for row in verdicts[name]]
    labels = [r[0] for r in rows] if distance is None else brute_clusters(picks, distance)
    clusters = {label: [r for r, own in zip(rows, labels, strict=True) if own == label] for label in labels}
    for row, label, verdict in zip(rows, labels, made, strict=True):
        best = min(clusters[label], key=lambda r: (-r[2], -r[3], r[4]))
        reason = None if row is best else "duplicate_exact" if row[0] == best[0] else "duplicate_near"
        assert verdict == {
            "sample_id": row[4], "duplicate_cluster_id": best[4], "duplicate_cluster_size": len(clusters[label]),
            "reject_reason": reason, "reject_detail": f"kept {best[4]}" if reason else None,
        }  # fmt: skip
    assert notes == {"clusters of two or more": sum(len(c) > 1 for c in clusters.values())}


def test_most_pixels_win_then_most_words_then_smallest_id_then_shard():
    rows = [
        (1, 0, 10, 9, "c" * 16), (1, 0, 20, 3, "b" * 16), (1, 0, 20, 5, "f" * 16), (1, 0, 20, 5, "e" * 16),
    ]  # fmt: skip
    verdicts, _ = run({"a": rows[:2], "b": rows[2:]})
    assert {r["duplicate_cluster_id"] for shard in verdicts.values() for r in shard} == {"e" * 16}
    same = (7, 0, 5, 5, "a" * 16)
    verdicts, _ = run({"x": [same], "y": [same]})
    assert [verdicts[s][0]["reject_reason"] for s in "xy"] == [None, "duplicate_exact"]


def test_a_chain_of_near_images_is_one_cluster():
    hashes = [0, 0b111, 0b111111]  # the ends differ in 6 bits
    verdicts, _ = run({"a": [(n, h, 1, 0, f"{n:016x}") for n, h in enumerate(hashes)]}, max_distance=3)
    assert [r["duplicate_cluster_size"] for r in verdicts["a"]] == [3, 3, 3]


def test_without_a_distance_only_equal_bytes_are_duplicates():
    rows = [(1, 0, 1, 0, "a" * 16), (2, 0, 1, 0, "b" * 16), (1, 0, 1, 0, "c" * 16)]
    verdicts, _ = run({"a": rows}, max_distance=None)
    assert [r["reject_reason"] for r in verdicts["a"]] == [None, None, "duplicate_exact"]
    verdicts, _ = run({"a": rows}, max_distance=0)
    assert [r["reject_reason"] for r in verdicts["a"]] == [None, "duplicate_near", "duplicate_exact"]


def test_captions_need_not_have_been_counted():
    shas = table(
        source_sha256=[sha(1), sha(2)], source_dhash=[1, 1], original_width_px=[1, 2], original_height_px=[1, 1]
    )
    made = list(Dedup().open(Context(stage_name="test"))(lambda: [("a", shas)]))
    assert made[0][1]["reject_reason"].to_pylist() == ["duplicate_near", None]


def test_no_rows_at_all_give_an_empty_verdict_a_shard():
    verdicts, notes = run({"a": [], "b": []})
    assert verdicts == {"a": [], "b": []}
    assert notes == {"clusters of two or more": 0}


def uniform(number, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, number, dtype=np.uint64)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "hashes",
    [
        pytest.param(np.full(20_000, 7, np.uint64), id="equal"),
        pytest.param(uniform(20_000) << np.uint64(16), id="one full band"),
        pytest.param(uniform(20_000) & np.uint64(0x0000FFFF_FFFF0000), id="white margins"),
        pytest.param(np.arange(20_000, dtype=np.uint64), id="few bits"),
        pytest.param(uniform(200_000), id="uniform"),
    ],
)
def test_crowded_hashes_stay_fast(hashes):
    started = time.perf_counter()
    labels = Dedup().clusters(np.zeros(len(hashes), "V32"), hashes)
    assert len(labels) == len(hashes)
    assert time.perf_counter() - started < 15


def test_pairs_are_folded_so_that_memory_follows_the_hashes(monkeypatch):
    import tracemalloc

    hashes = np.arange(1 << 13, dtype=np.uint64)  # about 1.5 million near pairs
    monkeypatch.setattr("stages.dedup.MAX_HELD_PAIRS", 1 << 16)
    tracemalloc.start()
    labels = near_clusters(hashes, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(labels.tolist()) == {0}
    assert peak < 100e6


def test_edits_of_one_image_are_no_duplicates_and_equal_edits_are():
    texts = ["add a hat", "make it blue", "add a hat", None, None]
    rows = table(
        [str(n) for n in range(5)],
        source_sha256=[sha(1)] * 5, source_dhash=[1] * 5, original_width_px=[1] * 5, original_height_px=[1] * 5,
        instruction=texts,
    )  # fmt: skip
    made = dict(Dedup().open(Context(stage_name="test"))(lambda: [("a", rows)]))["a"].to_pylist()
    assert [row["duplicate_cluster_id"] for row in made] == ["0", "1", "0", "3", "3"]
    assert [row["reject_reason"] for row in made] == [None, None, "duplicate_exact", None, "duplicate_exact"]
