"""Neighbours against exact search in numpy, equal files from any number of threads, memory as estimated."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from models.vector_index import build as _vector_build
from models.vector_index.index import (
    IndexSettings,
    VectorIndex,
    VectorIndexError,
    VectorWriter,
    build_index,
    list_indexes,
)
from models.vector_index.rules import build_bytes, choose_rule, choose_threads, query_bytes
from models.vector_index.store import VectorStore

ROOT = Path(__file__).resolve().parents[3]
LISTS = IndexSettings(flat_below=0)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, dim=32, seed=0, spread=0.7):
    """Unit vectors around 40 centres that all lie to one side of the origin."""
    centres = unit(np.random.default_rng(7).standard_normal((40, dim)) + 2 * np.eye(dim)[0])
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, 40, count)] + spread * unit(rng.standard_normal((count, dim))))


def named(count):
    return [f"{n:016x}" for n in range(count)]


def write(folder, ids, vectors, name="all", step=777):
    folder.mkdir(exist_ok=True)
    writer = VectorWriter(folder, name)
    for start in range(0, len(ids), step):
        writer.add(ids[start : start + step], vectors[start : start + step].astype(np.float16))
    writer.close()
    return folder


def exact(vectors, queries):
    """Cosines of queries and stored vectors, in float64."""
    stored = vectors.astype(np.float16).astype(np.float64)
    return queries.astype(np.float64) @ (stored / np.linalg.norm(stored, axis=1, keepdims=True)).T


def plain(hits, k=10):
    return [(h.ids[:k], h.cos_R[:k].tolist(), h.other_cos_R[:k].tolist()) for h in hits]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """An index with lists of 6,000 vectors, which are (6000, 32)."""
    vectors = clustered(6000)
    folder = write(tmp_path_factory.mktemp("lists"), named(6000), vectors)
    build_index(folder, "all", LISTS, num_threads=2)
    return folder, vectors


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    vectors = clustered(900)
    folder = write(tmp_path_factory.mktemp("flat"), named(900), vectors)
    build_index(folder, "all")
    return folder, vectors


def test_few_vectors_give_exactly_the_neighbours_of_numpy(flat):
    folder, vectors = flat
    queries = clustered(70, seed=1)
    cosines = exact(vectors, queries)
    for hits, cos in zip(VectorIndex(folder, "all").search(queries, 10), cosines, strict=True):
        nearest = np.argsort(-cos)[:10]
        assert hits.ids[:10] == [f"{n:016x}" for n in nearest]
        np.testing.assert_allclose(hits.cos_R[:10], cos[nearest], atol=1e-6)


def test_lists_find_the_nearest_and_report_exact_cosines(lists):
    folder, vectors = lists
    queries = clustered(300, seed=1)
    index, cosines = VectorIndex(folder, "all"), exact(vectors, queries)
    assert index.meta["rule"]["kind"] == "ivf_pq"
    found = index.search(queries, 10, others_BD=queries[::-1])
    first = [int(hits.ids[0], 16) == cos.argmax() for hits, cos in zip(found, cosines, strict=True)]
    tops = [set(np.argsort(-cos)[:10]) for cos in cosines]
    overlap = [len(top & {int(i, 16) for i in h.ids[:10]}) / 10 for top, h in zip(tops, found, strict=True)]
    assert np.mean(first) >= 0.97
    assert np.mean(overlap) >= 0.95
    for hits, cos, other in zip(found, cosines, cosines[::-1], strict=True):
        rows = [int(i, 16) for i in hits.ids]
        assert len(set(rows)) == len(rows) >= 10
        assert (np.diff(hits.cos_R) <= 0).all()
        np.testing.assert_allclose(hits.cos_R, cos[rows], atol=1e-6)
        np.testing.assert_allclose(hits.other_cos_R, other[rows], atol=1e-6)


@pytest.mark.parametrize("kind", ["lists", "flat"])
def test_hits_do_not_depend_on_the_other_queries_or_on_threads(kind, request):
    folder, _ = request.getfixturevalue(kind)
    index, queries = VectorIndex(folder, "all"), clustered(150, seed=2)
    whole = plain(index.search(queries, 10, others_BD=queries))
    order = np.random.default_rng(0).permutation(len(queries))
    threads_before = faiss.omp_get_max_threads()
    for step, threads in ((1, 1), (7, 2), (64, 3), (150, 1)):
        faiss.omp_set_num_threads(threads)
        parts = [order[start : start + step] for start in range(0, len(order), step)]
        found = [h for p in parts for h in plain(index.search(queries[p], 10, others_BD=queries[p]))]
        assert [found[place] for place in np.argsort(order)] == whole
    faiss.omp_set_num_threads(threads_before)


def test_equal_vectors_come_in_the_order_of_their_ids(tmp_path):
    vectors = np.repeat(clustered(1), 30, axis=0)
    ids = [f"{n:02d}" for n in np.random.default_rng(0).permutation(30)]
    build_index(write(tmp_path, ids, vectors), "all")
    assert VectorIndex(tmp_path, "all").search(vectors[:1], 30)[0].ids == sorted(ids)


def test_equal_vectors_at_the_border_are_chosen_by_id_with_any_blas(tmp_path):
    copies = np.repeat(clustered(1, 128), 700, axis=0)
    vectors = np.concatenate([copies, clustered(1000, 128, seed=1)])
    order = np.random.default_rng(0).permutation(len(vectors))
    build_index(write(tmp_path, [named(1700)[n] for n in order], vectors[order]), "all")
    index = VectorIndex(tmp_path, "all")
    queries = unit(copies[:1] + 0.05 * np.random.default_rng(1).standard_normal((1100, 128)).astype(np.float32))
    whole = plain(index.search(queries, 5))  # Faiss turns to BLAS from 1,000 of these on
    assert [hits for query in queries[::50] for hits in plain(index.search(query[None], 5))] == whole[::50]
    assert [hits[0] for hits in whole] == [named(5)] * len(whole)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def of_one_thread(tmp_path_factory):
    """An index of five runs of 4,096 vectors, and the vectors."""
    vectors = clustered(20_000)
    folder = write(tmp_path_factory.mktemp("one"), named(20_000), vectors)
    build_index(folder, "all", LISTS, num_threads=1)
    return folder, vectors


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads_gives_the_same_bytes_as_one(of_one_thread, tmp_path, threads):
    one, vectors = of_one_thread
    many = write(tmp_path / "many", named(20_000), vectors)
    build_index(many, "all", LISTS, num_threads=threads)
    assert files(one) == files(many)


def test_copies_put_together_are_what_faiss_builds_in_one_go(tmp_path):
    vectors = clustered(10_000)
    store = VectorStore(write(tmp_path, named(10_000), vectors), "all")
    trained = _vector_build._train(store, choose_rule(10_000, 32, LISTS), 0, 2)
    merged = _vector_build._fill(trained, store, 3)
    trained.add_with_ids(store.block(0, 10_000), np.arange(10_000))
    assert (faiss.serialize_index(merged) == faiss.serialize_index(trained)).all()


def test_without_cleared_padding_the_bytes_would_differ(tmp_path, monkeypatch):
    store = VectorStore(write(tmp_path, named(20_000), clustered(20_000)), "all")
    trained = _vector_build._train(store, choose_rule(20_000, 32, LISTS), 0, 2)
    clean = faiss.serialize_index(_vector_build._fill(trained, store, 3))
    monkeypatch.setattr(_vector_build, "_clear_padding", lambda index: None)
    assert (faiss.serialize_index(_vector_build._fill(trained, store, 3)) != clean).any()


def test_vectors_in_another_order_give_the_same_neighbours(lists, tmp_path):
    folder, vectors = lists
    order = np.random.default_rng(3).permutation(len(vectors))
    mixed = write(tmp_path, [named(6000)[n] for n in order], vectors[order])
    build_index(mixed, "all", LISTS, num_threads=1)
    queries = clustered(200, seed=4)
    assert plain(VectorIndex(folder, "all").search(queries, 5), 5) == plain(
        VectorIndex(mixed, "all").search(queries, 5), 5
    )


def test_another_seed_trains_other_lists(lists, tmp_path):
    folder, vectors = lists
    build_index(write(tmp_path, named(6000), vectors), "all", IndexSettings(flat_below=0, seed=1), num_threads=1)
    assert files(folder)["all.index.faiss"] != files(tmp_path)["all.index.faiss"]


def test_training_rows_follow_ids_and_not_places():
    ids = np.array([f"{n:05d}" for n in range(5000)], "S5")
    rows = _vector_build.training_rows(ids, 700, 0)
    assert len(set(rows.tolist())) == 700
    assert ids[rows].tolist() == sorted(ids[rows].tolist())
    backwards = ids[::-1].copy()
    assert backwards[_vector_build.training_rows(backwards, 700, 0)].tolist() == ids[rows].tolist()
    assert _vector_build.training_rows(ids, 700, 1).tolist() != rows.tolist()
    assert len(_vector_build.training_rows(ids, 5000, 0)) == 5000


def test_batches_do_not_change_what_is_written(tmp_path):
    vectors = clustered(50)
    ids = [*named(40), *(f"{n:016x}-e{n}" for n in range(40, 50))]  # longer ids come late
    a, b = write(tmp_path / "a", ids, vectors, step=50), write(tmp_path / "b", ids, vectors, step=3)
    assert files(a) == files(b)
    store = VectorStore(a, "all")
    assert store.ids_of(np.arange(50)) == ids
    np.testing.assert_array_equal(np.load(a / "all.vectors.npy"), vectors.astype(np.float16))


@pytest.mark.parametrize("mapped", [True, False])
def test_rows_are_those_stored_whether_mapped_or_read(tmp_path, mapped):
    vectors = clustered(50)
    store = VectorStore(write(tmp_path, named(50), vectors), "all")
    store.is_mapped = mapped
    rows = np.array([3, 49, 0, 3])
    np.testing.assert_array_equal(store.rows(rows), vectors.astype(np.float16).astype(np.float32)[rows])
    np.testing.assert_allclose(np.linalg.norm(store.block(10, 50), axis=1), 1, atol=1e-6)


def test_vectors_are_mapped_only_where_the_budget_has_room(lists):
    folder, vectors = lists
    size = json.loads((folder / "all.meta.json").read_bytes())["query_bytes"]
    opened = [VectorIndex(folder, "all", memory_budget_bytes=size + n) for n in (len(vectors) * 64, 64)]
    assert [index._store.is_mapped for index in opened] == [True, False]
    found = [plain(index.search(clustered(30, seed=5), 10)) for index in opened]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b"], unit(np.eye(2)) * 2, "the vector of a has length 2; expected 1"),
        (["a", "b"], np.array([[1, 0], [np.nan, 0]]), "the vector of b has length nan"),
        (["b"], np.eye(3)[:1], "the vector of b has 3 dimensions, those before it 2"),
        (["b"], np.eye(2), "1 ids came with float16 vectors of shape"),
    ],
)
def test_what_is_no_unit_vector_is_refused_by_its_id(tmp_path, ids, vectors, message):
    writer = VectorWriter(tmp_path, "all")
    writer.add(["0"], np.eye(2, dtype=np.float16)[:1])
    with pytest.raises(VectorIndexError, match=message):
        writer.add(ids, vectors.astype(np.float16))


def test_no_vectors_at_all_are_an_index_without_hits(tmp_path):
    build_index(write(tmp_path, [], clustered(1)), "all")
    index = VectorIndex(tmp_path, "all")
    assert index.count == 0
    assert [h.ids for h in index.search(clustered(3), 10)] == [[], [], []]


def test_fewer_vectors_than_asked_for_are_all_given(tmp_path):
    build_index(write(tmp_path, named(4), clustered(4)), "all")
    index = VectorIndex(tmp_path, "all")
    assert [sorted(h.ids) for h in index.search(clustered(2, seed=1), 10)] == [named(4)] * 2
    assert index.search(np.empty((0, 32), np.float32), 10) == []


def test_more_effort_looks_into_more_lists(tmp_path):
    vectors = clustered(3000)
    settings = IndexSettings(flat_below=0, num_probes=1, rerank=300)
    build_index(write(tmp_path, named(3000), vectors), "all", settings)
    index, queries = VectorIndex(tmp_path, "all"), clustered(5, seed=1)
    few, all_ = (index.search(queries, 10, effort=effort) for effort in (1, 10_000))
    assert all(len(a.ids) < len(b.ids) == 3000 for a, b in zip(few, all_, strict=True))


def test_queries_of_another_model_are_refused(flat):
    with pytest.raises(VectorIndexError, match=r"shape \(1, 8\), the index holds vectors of 32 dimensions"):
        VectorIndex(flat[0], "all").search(np.ones((1, 8), np.float32), 1)


def rule(count, dim=512, **settings):
    return choose_rule(count, dim, IndexSettings(**settings))


def test_the_rule_follows_count_and_budget():
    assert rule(0).kind == rule(99_999).kind == "flat"
    million = rule(1_000_000, memory_budget_bytes=1 << 30)
    assert (million.num_lists, million.num_probes, million.num_codes, million.train_rows) == (1024, 64, 256, 65_536)
    assert rule(1_000_000, memory_budget_bytes=300 << 20).num_codes < 256
    assert rule(99_999, memory_budget_bytes=200 << 20).kind == "ivf_pq"
    assert rule(100_000_000, memory_budget_bytes=64 << 30).num_lists == 8192
    assert rule(10_000_000, num_probes=7, memory_budget_bytes=8 << 30).num_probes == 7
    assert choose_rule(5000, 99, LISTS).num_codes == 33  # a divisor of the dimension


@pytest.mark.parametrize("budget_mb", [280, 300, 500, 1000, 4000])
def test_what_is_chosen_fits_the_budget(budget_mb):
    settings = IndexSettings(memory_budget_bytes=budget_mb * 10**6)
    chosen = choose_rule(1_000_000, 512, settings)
    threads = choose_threads(64, chosen, 1_000_000, 512, settings)
    assert build_bytes(chosen, 1_000_000, 512, threads) <= budget_mb * 10**6
    assert query_bytes(chosen, 1_000_000, 512) <= budget_mb * 10**6
    assert threads == 64 or build_bytes(chosen, 1_000_000, 512, threads + 1) > budget_mb * 10**6


@pytest.mark.parametrize("count", [500, 1_000_000])
def test_too_small_a_budget_is_refused_with_numbers_before_any_work(tmp_path, count, monkeypatch):
    message = (
        r"an index of [\d,]+ vectors of 512 dimensions needs at least \d+ MB, memory_budget_bytes allows 50 MB; "
        "raise it or split the vectors into pools"
    )
    with pytest.raises(VectorIndexError, match=message):
        rule(count, memory_budget_bytes=50_000_000)
    monkeypatch.setattr(_vector_build, "_train", lambda *_: pytest.fail("trained"))
    write(tmp_path, named(2000), clustered(2000))
    with pytest.raises(VectorIndexError, match="needs at least"):
        build_index(tmp_path, "all", IndexSettings(memory_budget_bytes=1000))


MEASURE = """
import sys, faiss, numpy as np
from pathlib import Path
from models.vector_index.index import IndexSettings, VectorIndex, build_index
def resident(key):
    return int(next(line for line in open("/proc/self/status") if key in line).split()[1]) * 1024
Path("/proc/self/clear_refs").write_text("5")
faiss.knn(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32), 1)
folder, before = Path(sys.argv[2]), resident("VmRSS")
if sys.argv[1] == "build":
    build_index(folder, "all", IndexSettings(flat_below=0), num_threads=2)
else:
    index = VectorIndex(folder, "all", memory_budget_bytes=1)
    index.search(np.load(folder.parent / "queries.npy"), 10)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read from Linux's /proc")
def test_memory_stays_below_the_estimate_and_the_estimate_is_not_far_off(tmp_path):
    count, dim = 150_000, 64
    folder = write(tmp_path / "index", named(count), clustered(count, dim), step=10_000)
    np.save(tmp_path / "queries.npy", clustered(400, dim, seed=1))
    chosen = choose_rule(count, dim, LISTS)
    estimates = {"build": build_bytes(chosen, count, dim, 2), "query": query_bytes(chosen, count, dim)}
    for step, estimate in estimates.items():
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, step, str(folder)], capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
        grown = int(done.stdout)
        assert estimate / 8 < grown <= estimate, (step, grown, estimate)


def broken(folder, tmp_path, name, content=None, cut=None):
    """A copy of the folder in which one file is replaced, cut, or gone."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / name
    if content is not None:
        path.write_bytes(content(path.read_bytes()))
    elif cut is not None:
        path.write_bytes(path.read_bytes()[:cut])
    else:
        path.unlink()
    return copy


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("all.meta.json", {}, r"all.meta.json is missing; build the index with the stage index"),
        ("all.meta.json", {"content": lambda _: b"{}"}, r"does not describe a vector index \(KeyError\('format'\)\)"),
        ("all.meta.json", {"content": lambda _: b"\x80\xff"}, "does not describe a vector index"),
        ("all.meta.json", {"content": lambda b: b.replace(b'"format": 1', b'"format": 9')}, r"kind \(9, .*knows \(1,"),
        ("all.meta.json", {"content": lambda b: b.replace(b"6000", b"6001")}, "mixed from two builds: the vectors are"),
        ("all.vectors.npy", {}, "all.vectors.npy is missing"),
        ("all.vectors.npy", {"cut": 5000}, "all.vectors.npy is no npy file of that size"),
        ("all.vectors.npy", {"cut": 3}, "all.vectors.npy is no npy file"),
        ("all.ids.npy", {"cut": 300}, "all.ids.npy is no npy file of that size"),
        ("all.ids.npy", {"content": lambda _: npy(np.zeros(5, "S4"))}, "6000 vectors of all and 5 ids"),
        ("all.vectors.npy", {"content": lambda _: npy(np.zeros((6000, 32)))}, "do not hold float16 vectors and text"),
        ("all.index.faiss", {}, "mixed from two builds: the bytes of its Faiss file are"),
        ("all.index.faiss", {"cut": 9000}, "mixed from two builds: the bytes of its Faiss file are"),
        ("all.index.faiss", {"content": lambda b: b"x" * len(b)}, "all.index.faiss cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_and_not_searched(lists, tmp_path, name, how, message):
    folder = broken(lists[0], tmp_path, name, **how)
    with pytest.raises(VectorIndexError, match=message):
        VectorIndex(folder, "all")


def npy(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_an_index_of_another_kind_or_build_is_refused(lists, tmp_path):
    other = faiss.IndexFlatIP(32)
    other.add(clustered(10))
    folder = shutil.copytree(lists[0], tmp_path / "copy")
    faiss.write_index(other, str(folder / "all.index.faiss"))
    meta = json.loads((folder / "all.meta.json").read_bytes())
    meta["index_bytes"] = (folder / "all.index.faiss").stat().st_size
    (folder / "all.meta.json").write_text(json.dumps(meta))
    with pytest.raises(VectorIndexError, match="holds a IndexFlatIP; build the index again"):
        VectorIndex(folder, "all")
    smaller = write(tmp_path / "smaller", named(5000), clustered(5000))
    build_index(smaller, "all", LISTS)
    shutil.copy(smaller / "all.index.faiss", folder)
    meta["index_bytes"] = (folder / "all.index.faiss").stat().st_size
    (folder / "all.meta.json").write_text(json.dumps(meta))
    with pytest.raises(VectorIndexError, match=r"the codes are \(5000, 32\), expected \(6000, 32\)"):
        VectorIndex(folder, "all")


def test_pools_are_listed_and_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(VectorIndexError, match="holds no vector index"):
        list_indexes(tmp_path)
    for name in ("photos", "art"):
        build_index(write(tmp_path, named(3), clustered(3), name), name)
    assert list_indexes(tmp_path) == ["art", "photos"]


def test_a_flat_build_leaves_no_file_of_an_earlier_one_with_lists(tmp_path):
    write(tmp_path, named(2000), clustered(2000))
    build_index(tmp_path, "all", LISTS)
    build_index(tmp_path, "all")
    assert not (tmp_path / "all.index.faiss").exists()
    assert len(VectorIndex(tmp_path, "all").search(clustered(1), 5)) == 1


def test_centres_are_found_on_the_gpu_where_faiss_has_one(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda i: moved.append(i) or i, raising=False)
    vectors = clustered(2000)
    build_index(write(tmp_path / "gpu", named(2000), vectors), "all", LISTS)
    assert len(moved) == 1
    assert moved[0].ntotal == choose_rule(2000, 32, LISTS).num_lists
    monkeypatch.undo()
    build_index(write(tmp_path / "cpu", named(2000), vectors), "all", LISTS)
    assert files(tmp_path / "gpu") == files(tmp_path / "cpu")
