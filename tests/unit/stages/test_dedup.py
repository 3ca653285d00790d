"""Verdicts on duplicates against a brute force over all pairs, however the rows are split, and what is kept."""

import numpy as np
import pyarrow as pa
import pytest
from _crowded_hashes import brute_clusters, crowds
from _inputs import table
from _rounds import run_rounds
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ContractError
from pipeline.context import Context
from stages.dedup import Dedup


def sha(number):
    return f"{number:064x}"


def shard(rows):
    """A table of (sha number, dhash, pixels, words, id, instruction) rows; the last may be left out."""
    if not rows:
        return pa.table({"sample_id": pa.array([], pa.string())})
    return table(
        [r[4] for r in rows],
        source_sha256=[sha(r[0]) for r in rows],
        source_dhash=[r[1] for r in rows],
        original_width_px=[r[2] for r in rows],
        original_height_px=[1] * len(rows),
        caption_num_words=[r[3] for r in rows],
        instruction=[r[5] if len(r) > 5 else None for r in rows],
    )


def run(shards, *, num_parts=3, group_size=2, **options):
    """({shard: rows}, notes) of a dedup over {shard: rows}."""
    ctx = Context(stage_name="test")
    tables = {name: shard(rows) for name, rows in shards.items()}
    found = run_rounds(Dedup(**options), ctx, tables, num_parts=num_parts, group_size=group_size)
    return {name: made.to_pylist() for name, made in found.items()}, dict(ctx.notes)


def reference(rows, distance):
    """(verdicts, clusters of two or more) of a plain pass over all pairs of rows."""
    labels = [r[0] for r in rows] if distance is None else brute_clusters([r[1] for r in rows], distance)
    labels = [(label, r[5]) for label, r in zip(labels, rows, strict=True)]
    clusters = {label: [r for r, own in zip(rows, labels, strict=True) if own == label] for label in labels}
    verdicts = []
    for row, label in zip(rows, labels, strict=True):
        best = min(clusters[label], key=lambda r: (-r[2], -r[3], r[4]))
        reason = None if row is best else "duplicate_exact" if row[0] == best[0] else "duplicate_near"
        verdicts.append({
            "sample_id": row[4], "duplicate_cluster_id": best[4], "duplicate_cluster_size": len(clusters[label]),
            "reject_reason": reason, "reject_detail": f"kept {best[4]}" if reason else None,
        })  # fmt: skip
    return verdicts, sum(len(c) > 1 for c in clusters.values())


@settings(max_examples=80, deadline=None)
@given(data=st.data(), num_parts=st.sampled_from([1, 3, 8]), group_size=st.sampled_from([1, 2, 9]))
def test_verdicts_are_those_of_all_pairs_whatever_the_parts(data, num_parts, group_size):
    crowd = data.draw(crowds())
    picks = data.draw(st.lists(st.sampled_from(crowd), min_size=1, max_size=25))
    ids = data.draw(st.lists(st.integers(1, 1 << 40), min_size=len(picks), max_size=len(picks), unique=True))
    rows = [
        (crowd.index(h) if data.draw(st.booleans()) else 1000 + n, h, data.draw(st.integers(1, 3)),
         data.draw(st.integers(0, 2)), f"{own:x}-é{own % 3}", data.draw(st.sampled_from([None, None, "a", "add ü"])))
        for n, (h, own) in enumerate(zip(picks, ids, strict=True))
    ]  # fmt: skip
    distance = data.draw(st.sampled_from([None, 0, 2, 3]))
    cut = data.draw(st.integers(0, len(rows)))
    shards = {"a": rows[:cut], "b": [], "c": rows[cut:], "d": []}
    verdicts, notes = run(shards, max_distance=distance, num_parts=num_parts, group_size=group_size)
    assert list(verdicts) == ["a", "b", "c", "d"]
    expected, num_clusters = reference(rows, distance)
    assert [row for name in verdicts for row in verdicts[name]] == expected
    assert notes == {"clusters of two or more": num_clusters}


def test_parts_and_groups_do_not_change_the_verdicts_on_many_rows():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 500, dtype=np.uint64)[rng.integers(0, 500, 3000)]
    hashes ^= np.uint64(1) << rng.integers(0, 64, 3000).astype(np.uint64)
    tables = {
        f"s{start:04}": shard([(n % 900, int(hashes[n]), n % 7, n % 3, f"{n:016x}") for n in range(start, start + 300)])
        for start in range(0, 3000, 300)
    }
    seen = [
        run_rounds(Dedup(), Context(stage_name="test"), tables, num_parts=num_parts, group_size=group_size)
        for num_parts, group_size in ((1, 10), (3, 1), (8, 2))
    ]
    assert seen[0] == seen[1] == seen[2]
    assert 0 < pa.concat_tables(seen[0].values())["reject_reason"].null_count < 3000


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
    made = run_rounds(Dedup(), Context(stage_name="test"), {"a": shas})
    assert made["a"]["reject_reason"].to_pylist() == ["duplicate_near", None]


def test_no_rows_at_all_give_an_empty_verdict_a_shard():
    verdicts, notes = run({"a": [], "b": []})
    assert verdicts == {"a": [], "b": []}
    assert notes == {"clusters of two or more": 0}


def test_edits_of_one_image_are_no_duplicates_and_equal_edits_are():
    texts = ["add a hat", "make it blue", "add a hat", None, None]
    verdicts, _ = run({"a": [(1, 1, 1, 0, str(n), text) for n, text in enumerate(texts)]})
    assert [row["duplicate_cluster_id"] for row in verdicts["a"]] == ["0", "1", "0", "3", "3"]
    assert [row["reject_reason"] for row in verdicts["a"]] == [None, None, "duplicate_exact", None, "duplicate_exact"]


@pytest.mark.parametrize("text", ["ab", "z" * 64, ""])
def test_a_digest_that_is_none_is_refused(text):
    rows = table(source_sha256=[text], source_dhash=[1], original_width_px=[1], original_height_px=[1])
    with pytest.raises(ContractError, match="source_sha256: expected 64 hex digits in every row"):
        run_rounds(Dedup(), Context(stage_name="test"), {"a": rows})
