"""Which rows reach which pool's index, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest
from _inputs import table
from pydantic import ValidationError

from core.errors import ContractError, RunStopped
from models.vector_index.index import VectorIndex, list_indexes
from pipeline.context import Context
from stages.index import Index


def unit(count, seed=0, dim=8):
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def shard(ids, vectors):
    return table(ids, image_embedding=list(vectors))


def run(tmp_path, shards, **settings):
    """Notes of a build over (name, table) pairs. The index is in tmp_path/index."""
    ctx = Context(stage_name="index", artifact_dir=tmp_path)
    assert list(Index(**settings).open(ctx)(lambda: list(shards.items()))) == []
    return {key: count for key, count in ctx.notes.items() if count}


def held(tmp_path, pool):
    """Ids that a search for everything finds."""
    return sorted(VectorIndex(tmp_path / "index", pool).search(unit(1).astype(np.float32), 100)[0].ids)


def test_every_row_of_every_shard_is_indexed(tmp_path):
    notes = run(tmp_path, {"x": shard(["a", "b"], unit(2)), "y": shard(["c"], unit(1, 1))})
    assert notes == {"vectors in pool all": 3}
    assert list_indexes(tmp_path / "index") == ["all"]
    assert held(tmp_path, "all") == ["a", "b", "c"]


def test_pools_take_the_shards_that_their_globs_name(tmp_path):
    shards = {"art-1": shard(["a"], unit(1)), "art-2": shard(["b"], unit(1, 1)), "web-1": shard(["c"], unit(1, 2))}
    shards["old-1"] = shard(["d", "e"], unit(2, 3))
    notes = run(tmp_path, shards, pools={"art": "art-*", "new": "[aw]*-1", "none": "nothing"})
    assert {pool: held(tmp_path, pool) for pool in ("art", "new", "none")} == {
        "art": ["a", "b"], "new": ["a", "c"], "none": [],
    }  # fmt: skip
    assert notes == {"vectors in pool art": 2, "vectors in pool new": 2, "rows in no pool": 2}


def test_pools_that_match_no_shard_at_all_stop_the_run(tmp_path):
    message = r"no shard belongs to a pool: \{'art': 'arts-\*'\} match none of the shards' names, such as 'art-1'"
    with pytest.raises(RunStopped, match=message):
        run(tmp_path, {"art-1": shard(["a"], unit(1))}, pools={"art": "arts-*"})


def test_a_second_attempt_starts_afresh(tmp_path):
    run(tmp_path, {"x": shard(["a", "b"], unit(2))}, pools={"one": "*"})
    run(tmp_path, {"x": shard(["c"], unit(1))}, pools={"two": "*"})
    assert list_indexes(tmp_path / "index") == ["two"]


def test_settings_reach_the_index(tmp_path):
    vectors = unit(1500)
    settings = {"flat_below": 10, "num_probes": 3, "rerank": 7, "seed": 5, "memory_budget_bytes": 1 << 30}
    run(tmp_path, {"x": shard([f"{n:04d}" for n in range(1500)], vectors)}, **settings)
    meta = VectorIndex(tmp_path / "index", "all").meta
    assert meta["settings"] == settings
    assert meta["rule"]["num_probes"] == 3


def test_a_missing_or_wrong_vector_is_reported_with_its_sample(tmp_path):
    with pytest.raises(ContractError, match="sample b: image_embedding has 0 numbers, expected 8; embed all images"):
        run(tmp_path, {"x": table(["a", "b"], image_embedding=[unit(1)[0], None])})
    with pytest.raises(ContractError, match="sample b: image_embedding has 4 numbers, expected 8"):
        run(tmp_path, {"x": table(["a", "b"], image_embedding=[unit(1)[0], unit(1, dim=4)[0]])})
    with pytest.raises(ContractError, match="sample a: image_embedding has 0 numbers, expected some"):
        run(tmp_path, {"x": table(["a"], image_embedding=[None])})
    with pytest.raises(ContractError, match=r"shard x: the vector of a has length 0\.5; expected 1"):
        run(tmp_path, {"x": shard(["a"], unit(1) / 2)})
    with pytest.raises(ContractError, match="shard y: the vector of b has 4 dimensions, those before it 8"):
        run(tmp_path, {"x": shard(["a"], unit(1)), "y": shard(["b"], unit(1, dim=4))})


def test_a_budget_that_does_not_do_stops_the_run_with_the_numbers(tmp_path):
    with pytest.raises(RunStopped, match=r"pool all: an index of 1 vectors of 8 dimensions needs at least 134 MB"):
        run(tmp_path, {"x": shard(["a"], unit(1))}, memory_budget_bytes=1000)


@pytest.mark.parametrize("pools", [{}, {"Art": "*"}, {"a.b": "*"}, {"a/b": "*"}, {"a": ""}])
def test_pools_are_named_so_that_they_can_be_files(pools):
    with pytest.raises(ValidationError):
        Index(pools=pools)


def test_a_table_cut_from_a_larger_one_gives_its_own_vectors(tmp_path):
    vectors = unit(6)
    whole = pa.concat_tables([shard(list("abc"), vectors[:3]), shard(list("def"), vectors[3:])])
    run(tmp_path, {"x": whole.slice(2, 3)})
    stored = np.load(tmp_path / "index" / "all.vectors.npy")
    np.testing.assert_array_equal(stored, vectors[2:5])


def test_without_a_folder_to_write_to_the_stage_does_not_open():
    with pytest.raises(ContractError, match="no folder for index: this context was made without `artifact_dir`"):
        Index().open(Context(stage_name="index"))
