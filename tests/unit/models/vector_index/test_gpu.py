"""Search on a GPU, with Faiss's CPU index in place of the GPU's: results, and when the CPU is used."""

import faiss
import numpy as np
import pytest

from models.vector_index import gpu as _vector_gpu
from models.vector_index.gpu import GpuCandidates, gpu_bytes, gpu_number
from models.vector_index.index import IndexSettings, VectorIndex, VectorWriter, build_index

LISTS = IndexSettings(flat_below=0)


def unit(count, dim=32, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def written(folder, vectors, settings=None):
    writer = VectorWriter(folder, "all")
    writer.add([f"{n:016x}" for n in range(len(vectors))], vectors.astype(np.float16))
    writer.close()
    build_index(folder, "all", settings, device="cpu")
    return folder


def plain(hits, k=10):
    return [(h.ids[:k], h.cos_R[:k].tolist()) for h in hits]


class Resources:
    def setTempMemory(self, size):  # noqa: N802  Faiss's name
        assert size == _vector_gpu.SCRATCH_BYTES


class Config:
    device = 0


class OnGpu(faiss.IndexFlatIP):
    """Faiss's CPU index with the GPU's constructor, and a GPU that has room for so many rows."""

    room, is_lost, places = 1 << 20, False, ()

    def __init__(self, _resources, dim, config):
        super().__init__(dim)
        OnGpu.places = (*OnGpu.places, config.device)

    def add(self, vectors):
        if len(OnGpu.places) * len(vectors) > OnGpu.room:
            raise RuntimeError("StandardGpuResources: alloc fail")
        super().add(vectors)

    def search(self, queries, number):
        if OnGpu.is_lost:
            raise RuntimeError("StandardGpuResources: alloc fail")
        assert number <= _vector_gpu.MOST_ROWS
        return super().search(queries, number)


class Shards:
    """IndexShards in Python, as the indexes here have methods of Python."""

    def __init__(self, _dim, _is_threaded, _is_numbered_on):
        self.parts = []

    def add_shard(self, part):
        self.parts.append(part)

    @property
    def ntotal(self):
        return sum(part.ntotal for part in self.parts)

    def search(self, queries, number):
        found, start = [], 0
        for part in self.parts:
            cos, rows = part.search(queries, min(number, part.ntotal))
            found.append((cos, rows + start))
            start += part.ntotal
        cos, rows = (np.concatenate(both, axis=1) for both in zip(*found, strict=True))
        best = np.argsort(-cos, axis=1)[:, :number]
        return np.take_along_axis(cos, best, 1), np.take_along_axis(rows, best, 1)


@pytest.fixture
def gpu(monkeypatch):
    OnGpu.room, OnGpu.is_lost, OnGpu.places = 1 << 20, False, ()
    for name, fake in (
        ("StandardGpuResources", Resources), ("GpuIndexFlatConfig", Config), ("GpuIndexFlatIP", OnGpu),
        ("IndexShards", Shards), ("get_num_gpus", lambda: 2),
    ):  # fmt: skip
        monkeypatch.setattr(faiss, name, fake, raising=False)
    monkeypatch.setattr(_vector_gpu, "ROWS_PER_PART", 700)


def uses_gpu(index):
    return isinstance(index._candidates, GpuCandidates)


def test_an_index_without_lists_gives_the_same_neighbours_on_both(tmp_path, gpu):
    vectors, queries = unit(2000), unit(300, seed=1)
    folder = written(tmp_path, np.concatenate([vectors, vectors[:50], vectors[:50]]))
    here, there = VectorIndex(folder, "all", device="cpu"), VectorIndex(folder, "all")
    assert (uses_gpu(here), uses_gpu(there)) == (False, True)
    both = np.concatenate([queries, vectors[:20]])
    assert plain(here.search(both, 10)) == plain(there.search(both, 10))


def test_an_index_with_lists_misses_nothing_on_a_gpu(tmp_path, gpu):
    vectors, queries = unit(3000), unit(200, seed=1)
    index = VectorIndex(written(tmp_path, vectors, LISTS), "all")
    stored = vectors.astype(np.float16).astype(np.float64)
    truth = np.argsort(-(queries @ (stored / np.linalg.norm(stored, axis=1, keepdims=True)).T), axis=1)[:, :10]
    assert [[int(i, 16) for i in h.ids] for h in index.search(queries, 10)] == truth.tolist()


def test_more_rows_than_a_gpu_finds_are_found_by_the_cpu(tmp_path, gpu):
    folder = written(tmp_path, unit(3000))
    queries = unit(5, seed=1)
    found = [plain(VectorIndex(folder, "all", device=d).search(queries, 2500), 2500) for d in ("auto", "cpu")]
    assert found[0] == found[1]
    assert len(found[0][0][0]) == 2500


def test_more_equal_rows_than_a_gpu_finds_are_chosen_by_id(tmp_path, gpu):
    folder = written(tmp_path, np.repeat(unit(1), 3000, axis=0))
    (hits,) = VectorIndex(folder, "all").search(unit(1), 3)
    assert hits.ids == [f"{n:016x}" for n in range(3)]


@pytest.mark.parametrize("room", [0, 1500])
def test_a_gpu_without_room_leaves_the_search_to_the_cpu(tmp_path, gpu, room):
    OnGpu.room = room
    index = VectorIndex(written(tmp_path, unit(2000)), "all")
    assert not uses_gpu(index)
    assert len(index.search(unit(3, seed=1), 5)) == 3


def test_a_gpu_that_fills_up_later_leaves_the_search_to_the_cpu(tmp_path, gpu):
    folder = written(tmp_path, unit(2000))
    index, queries = VectorIndex(folder, "all"), unit(3, seed=1)
    before = plain(index.search(queries, 5))
    OnGpu.is_lost = True
    assert plain(index.search(queries, 5)) == before
    OnGpu.is_lost = False
    assert plain(index.search(queries, 5)) == before


def test_vectors_beyond_the_memory_budget_stay_off_the_gpu(tmp_path, gpu):
    folder, size = written(tmp_path, unit(2000)), gpu_bytes(2000, 32)
    assert uses_gpu(VectorIndex(folder, "all", memory_budget_bytes=size))
    assert not uses_gpu(VectorIndex(folder, "all", memory_budget_bytes=size - 1))


@pytest.mark.parametrize(
    ("device", "number"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:2", None), ("cpu", None)]
)
def test_the_device_of_the_stage_names_the_gpu(gpu, device, number):
    assert gpu_number(device) == number


def test_vectors_lie_on_the_gpu_that_was_named(tmp_path, gpu):
    assert uses_gpu(VectorIndex(written(tmp_path, unit(1500)), "all", device="cuda:1"))
    assert OnGpu.places == (1, 1, 1)


def test_faiss_without_a_gpu_searches_on_the_cpu(tmp_path):
    assert not uses_gpu(VectorIndex(written(tmp_path, unit(100)), "all"))


def test_a_gpu_without_room_leaves_the_lists_centres_to_the_cpu(tmp_path, gpu, monkeypatch):
    def full(_index):
        raise RuntimeError("StandardGpuResources: alloc fail")

    vectors = unit(2000)
    for folder in ("gpu", "cpu"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, vectors, LISTS)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", full, raising=False)
    build_index(tmp_path / "gpu", "all", LISTS)
    files = [(tmp_path / folder / "all.index.faiss").read_bytes() for folder in ("gpu", "cpu")]
    assert files[0] == files[1]
