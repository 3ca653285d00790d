"""Clusters settled batch by batch: the best row, whatever the batches, in memory that follows the clusters."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import partitions
from stages.duplicates import clusters
from stages.duplicates.clusters import EXACT, KEPT, NEAR, facts_of, keyed_by_bytes, num_kept, settle


def facts(count, num_clusters, seed=0):
    """Facts of rows of one shard in so many clusters of the same key and edit."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, num_clusters, count).astype(np.uint64)
    return pa.table({
        "key": cluster // np.uint64(3), "edit": cluster % np.uint64(3), "pixels": rng.integers(1, 4, count),
        "words": rng.integers(0, 3, count).astype(np.int32),
        "sha": pa.array([bytes([n]) * 32 for n in rng.integers(0, 2, count)], pa.binary(32)),
        "id": [f"{n:x}" for n in rng.permutation(count)], "shard": np.zeros(count, np.int32),
        "row": np.arange(count, dtype=np.int32),
    })  # fmt: skip


def expected(table):
    """{row: (kept, size, outcome)} row by row."""
    found, rows = {}, table.to_pylist()
    for row in rows:
        own = [other for other in rows if (other["key"], other["edit"]) == (row["key"], row["edit"])]
        best = min(own, key=lambda r: (-r["pixels"], -r["words"], r["id"].encode()))
        outcome = KEPT if row is best else EXACT if row["sha"] == best["sha"] else NEAR
        if len(own) > 1:
            found[row["row"]] = best["id"], len(own), outcome
    return found


@pytest.mark.parametrize("rows_per_batch", [7, 1000])
@pytest.mark.parametrize("num_clusters", [1, 40, 400])
def test_batches_do_not_change_the_verdicts(monkeypatch, rows_per_batch, num_clusters):
    table = facts(300, num_clusters)
    monkeypatch.setattr(clusters, "batches", lambda tables: partitions.batches(tables, rows_per_batch))
    parts = [table.slice(start, 5) for start in range(0, 300, 5)]
    made = list(settle(lambda: parts))
    found = {row["row"]: (row["kept"], row["size"], row["outcome"]) for one in made for row in one.to_pylist()}
    assert found == expected(table)
    assert sum(map(num_kept, made)) == len({(kept, size) for kept, size, _ in found.values()})


def test_a_cluster_of_many_rows_takes_no_memory_for_each(monkeypatch):
    monkeypatch.setattr(clusters, "batches", lambda tables: partitions.batches(tables, 100))
    held = []
    best = clusters._best
    monkeypatch.setattr(clusters, "_best", lambda rows: held.append(rows.num_rows) or best(rows))
    parts = [facts(100, 5, seed) for seed in range(20)]
    assert sum(table.num_rows for table in settle(lambda: parts)) == 2000
    assert max(held) <= 100 + 5


def test_no_rows_and_rows_alone_have_no_verdicts():
    assert list(settle(list)) == []
    assert list(settle(lambda: [facts(1, 1)])) == []


def test_rows_of_equal_bytes_and_edits_share_a_key():
    shard = pa.table({
        "sample_id": list("abcde"), "source_sha256": ["0a" * 32, "0A" * 32, "0a" * 32, "0b" * 32, "0a" * 32],
        "source_dhash": pa.array([1, 1, 1, 2, 1], pa.uint64()), "original_width_px": [1] * 5,
        "original_height_px": [1] * 5, "instruction": [None, None, "x", None, "x"],
    })  # fmt: skip
    made = keyed_by_bytes(facts_of(3, shard))
    keys = list(zip(made["key"].to_pylist(), made["edit"].to_pylist(), strict=True))
    assert [keys.index(key) for key in keys] == [0, 0, 2, 3, 2]
    assert made["shard"].to_pylist() == [3] * 5
    assert made["sha"].to_pylist()[1] == b"\n" * 32
