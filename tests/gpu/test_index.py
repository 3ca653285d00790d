"""Faiss on a GPU against Faiss on the CPU."""

import numpy as np
import pytest

faiss = pytest.importorskip("faiss", reason="faiss is not installed")

from models.vector_index.gpu import GpuCandidates, num_gpus  # noqa: E402
from models.vector_index.index import IndexSettings, VectorIndex, VectorWriter, build_index  # noqa: E402

COUNT, DIM, HITS = 20_000, 64, 10


@pytest.fixture
def index_folder(tmp_path):
    if not num_gpus():
        pytest.skip("faiss is built without GPU support (make setup-gpu)")
    writer = VectorWriter(tmp_path, "all")
    writer.add([f"{n:016x}" for n in range(COUNT)], unit(COUNT, 0).astype(np.float16))
    writer.close()
    return tmp_path


def unit(count, seed):
    vectors = np.random.default_rng(seed).standard_normal((count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_neighbours_without_lists_are_those_of_the_cpu(index_folder):
    build_index(index_folder, "all", IndexSettings(flat_below=COUNT + 1), device="cpu")
    cpu, gpu = (VectorIndex(index_folder, "all", device=device) for device in ("cpu", "cuda"))
    assert isinstance(gpu._candidates, GpuCandidates)
    queries = unit(200, 1)
    for one, other in zip(cpu.search(queries, HITS), gpu.search(queries, HITS), strict=True):
        assert one.ids[:HITS] == other.ids[:HITS]
        assert np.array_equal(one.cos_R[:HITS], other.cos_R[:HITS])


def test_with_lists_the_gpu_misses_nothing(index_folder):
    build_index(index_folder, "all", IndexSettings(flat_below=0), device="cuda")
    gpu = VectorIndex(index_folder, "all", device="cuda")
    queries = unit(200, 2)
    stored = unit(COUNT, 0).astype(np.float16).astype(np.float32)
    nearest = (queries @ stored.T).argmax(1)
    found = [int(one.ids[0], 16) for one in gpu.search(queries, HITS)]
    assert np.mean(np.array(found) == nearest) >= 0.995
