"""Targets against a search over all images in numpy, forbidden targets, several pools."""

import numpy as np
import pytest
from _inputs import table

from core.errors import RunStopped
from pipeline.context import Context
from stages.index import Index
from stages.retrieve import Retrieve

DIM = 8


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def half(vectors):
    """Unit vectors as the column stores them."""
    return unit(np.asarray(vectors, np.float64)).astype(np.float16)


def collection(count=300, seed=0):
    return half(np.random.default_rng(seed).standard_normal((count, DIM)) + np.eye(DIM)[0])


def named(count, start=0):
    return [f"{n:016x}" for n in range(start, start + count)]


class Encoder:
    """Texts are numbers that seed a vector."""

    def __init__(self, dim=DIM):
        self.dim = dim
        self.asked = []

    def encode_texts(self, texts):
        self.asked.append(list(texts))
        return np.array([text_vector(text) for text in texts], np.float32)


def text_vector(text):
    seed = int(text) if text else 0
    return unit(np.random.default_rng(1000 + seed).standard_normal(DIM) + np.eye(DIM)[0])


def index_of(tmp_path, shards, **settings):
    tables = [(name, table(ids, image_embedding=list(vectors))) for name, (ids, vectors) in shards.items()]
    list(Index(**settings).open(Context(stage_name="index", artifact_dir=tmp_path))(lambda: tables))
    return tmp_path / "index"


def opened(folder, encoder=None, **settings):
    loader = lambda *_, **__: encoder or Encoder()  # noqa: E731
    ctx = Context(stage_name="retrieve", artifacts={"index": folder}, loader=loader)
    return Retrieve(model="zoo:clip", **settings).open(ctx)


def asking(ids, vectors, captions):
    """Rows of edits of the images `ids`."""
    return table(
        [f"{i}-e1" for i in ids],
        image_embedding=list(vectors),
        source_sha256=[i + "0" * 48 for i in ids],
        target_caption=captions,
    )


def retrieve(tmp_path, vectors, rows=None, captions=None, encoder=None, **settings):
    """Rows that come out for edits of the collection's images `rows`, the collection being one shard."""
    rows = list(range(len(vectors))) if rows is None else rows
    ids = named(len(vectors))
    folder = index_of(tmp_path, {"x": (ids, vectors)})
    batch = asking([ids[n] for n in rows], vectors[rows], captions or [str(n) for n in rows])
    return opened(folder, encoder, **settings)(batch).to_pylist()


def expected(vectors, row, caption, *, weight=0.5, max_image_cos=0.95, number=10):
    """Row numbers and cosines of the targets of one edit, by comparing all."""
    stored = unit(vectors.astype(np.float64))
    query = unit((1 - weight) * stored[row] + weight * text_vector(caption))
    image_cos = stored @ stored[row]
    allowed = [n for n in range(len(vectors)) if n != row and image_cos[n] <= max_image_cos]
    near = sorted(allowed, key=lambda n: -(stored[n] @ query))[:number]
    return near, [stored[n] @ query for n in near], [image_cos[n] for n in near]


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.7, 1.0])
def test_targets_are_those_nearest_to_the_weighted_mean(tmp_path, weight):
    vectors = collection()
    found = retrieve(tmp_path, vectors, text_weight=weight, max_image_cos=0.9, num_neighbours=5)
    for row, result in enumerate(found):
        near, cosines, image_cos = expected(vectors, row, str(row), weight=weight, max_image_cos=0.9, number=5)
        assert result["neighbour_ids"] == [f"{n:016x}" for n in near]
        assert result["target_id"] == result["neighbour_ids"][0]
        assert result["target_pool"] == "all"
        assert result["retrieval_cos"] == result["neighbour_cos"][0]
        np.testing.assert_allclose(result["neighbour_cos"], cosines, atol=1e-5)
        np.testing.assert_allclose(result["target_image_cos"], image_cos[0], atol=1e-5)
        assert result["reject_reason"] is None


def test_the_mean_is_even_by_default():
    assert Retrieve(model="zoo:clip").text_weight == 0.5


def test_neither_the_source_nor_other_rows_of_its_image_are_targets(tmp_path):
    image = half([[1, 0, 0, 0, 0, 0, 0, 0]])
    other = half([[1, 1, 0, 0, 0, 0, 0, 0]])
    ids = [named(1)[0], f"{named(1)[0]}-c1", "f" * 16]
    folder = index_of(tmp_path, {"x": (ids, np.concatenate([image, image, other]))})
    found = opened(folder, max_image_cos=1.0)(asking(named(1), image, ["1"])).to_pylist()
    assert found[0]["neighbour_ids"] == ["f" * 16]


def test_near_duplicates_of_the_source_are_no_targets(tmp_path):
    vectors = collection(40)
    twins = half(vectors[0] + 0.02 * np.random.default_rng(1).standard_normal((5, DIM)))
    both = np.concatenate([vectors, twins])
    found = retrieve(tmp_path, both, rows=[0], text_weight=0.0, max_image_cos=0.95)[0]
    assert found["neighbour_ids"] == [f"{n:016x}" for n in expected(both, 0, "0", weight=0.0)[0]]
    assert found["target_image_cos"] <= 0.95
    assert not {int(i, 16) for i in found["neighbour_ids"]} & set(range(40, 45))
    found = retrieve(tmp_path, both, rows=[0], text_weight=0.0, max_image_cos=1.0)[0]
    assert {int(i, 16) for i in found["neighbour_ids"][:5]} == set(range(40, 45))


@pytest.mark.parametrize("flat_below", [0, 100_000])
def test_the_search_goes_deeper_when_copies_take_all_places(tmp_path, flat_below):
    rng = np.random.default_rng(2)
    copies = half(np.eye(DIM)[0] + 0.01 * rng.standard_normal((1500, DIM)))
    others = half(rng.standard_normal((20, DIM)))
    vectors = np.concatenate([copies, others])
    ids = named(len(vectors))
    folder = index_of(tmp_path, {"x": (ids, vectors)}, flat_below=flat_below, rerank=15)
    work = opened(folder, text_weight=0.1, num_neighbours=100)
    found = work(asking(ids[:1], vectors[:1], ["1"])).to_pylist()[0]
    assert sorted(found["neighbour_ids"]) == ids[1500:]


def test_a_source_without_any_other_image_is_a_reject(tmp_path):
    found = retrieve(tmp_path, np.repeat(collection(1), 3, axis=0))
    for row in found:
        assert (row["reject_reason"], row["target_id"], row["retrieval_cos"]) == ("no_neighbour", None, None)
        assert row["neighbour_ids"] == []


def test_an_empty_collection_gives_no_neighbour(tmp_path):
    folder = index_of(tmp_path, {"x": ([], collection(1)[:0])})
    found = opened(folder)(asking(named(1), collection(1), ["1"])).to_pylist()
    assert found[0]["reject_reason"] == "no_neighbour"


def test_a_target_that_is_too_far_is_a_reject_that_says_how_far(tmp_path):
    vectors = collection(50)
    near = retrieve(tmp_path, vectors)
    bound = float(np.median([row["retrieval_cos"] for row in near]))
    for row, free in zip(retrieve(tmp_path, vectors, min_retrieval_cos=bound), near, strict=True):
        is_far = free["retrieval_cos"] < bound
        assert row["reject_reason"] == ("below_min_cos" if is_far else None)
        if is_far:
            assert float(row["reject_detail"].removeprefix("cosine ")) == pytest.approx(free["retrieval_cos"], abs=1e-4)
        assert row["target_id"] == free["target_id"]


def test_pools_are_searched_together_or_as_named(tmp_path):
    a, b = collection(30, 1), collection(30, 2)
    shards = {"art": (named(30), a), "web": (named(30, 30), b)}
    folder = index_of(tmp_path, shards, pools={"art": "art", "web": "web", "both": "*"})
    batch = asking(["e" * 16] * 20, collection(20, 3), [str(n) for n in range(20)])
    art, web, one, two = (
        opened(folder, pools=pools)(batch).to_pylist() for pools in (("art",), ("web",), ("both",), ("web", "art"))
    )
    assert {row["target_pool"] for row in two} == {"art", "web"}
    for row, in_art, in_web, in_both in zip(two, art, web, one, strict=True):
        best = max((in_art, in_web), key=lambda found: found["retrieval_cos"])
        assert (row["target_id"], row["target_pool"]) == (best["target_id"], best["target_pool"])
        assert row["neighbour_ids"] == in_both["neighbour_ids"]
    everywhere = opened(folder)(batch).to_pylist()
    assert [row["neighbour_ids"] for row in everywhere] == [row["neighbour_ids"] for row in one]
    assert {row["target_pool"] for row in everywhere} == {"art", "both"}  # of an image in two pools the first by name


def test_equally_near_images_come_by_id(tmp_path):
    same = np.repeat(collection(1), 4, axis=0)
    folder = index_of(tmp_path, {"x": (["c" * 16, "a" * 16, "d" * 16, "b" * 16], same)})
    found = opened(folder)(asking(["e" * 16], collection(1, 5), ["1"])).to_pylist()[0]
    assert found["neighbour_ids"] == [letter * 16 for letter in "abcd"]


def test_equal_captions_are_embedded_once(tmp_path):
    encoder = Encoder()
    retrieve(tmp_path, collection(4), captions=["1", "2", "1", None], encoder=encoder)
    assert encoder.asked == [["1", "2", ""]]


def test_an_index_of_another_model_is_reported_before_any_row(tmp_path):
    folder = index_of(tmp_path, {"x": (named(3), collection(3))})
    with pytest.raises(RunStopped, match="'zoo:clip' makes vectors of 16 dimensions, pool all holds 8; name the model"):
        opened(folder, Encoder(16))


def test_a_pool_that_was_not_indexed_is_reported(tmp_path):
    folder = index_of(tmp_path, {"x": (named(3), collection(3))})
    with pytest.raises(RunStopped, match=r"pool 'art' was not indexed \(there are: all\)"):
        opened(folder, pools=("art",))


def test_a_damaged_index_is_reported(tmp_path):
    folder = index_of(tmp_path, {"x": (named(3), collection(3))})
    (folder / "all.ids.npy").unlink()
    with pytest.raises(RunStopped, match=r"all.ids.npy is missing; build the index again"):
        opened(folder)
