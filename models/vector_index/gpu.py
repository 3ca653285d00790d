"""Holds all vectors on a GPU and compares each query with all, where a GPU has room.

Exact cosines are computed from the stored vectors afterwards, as on the CPU. So an index without lists gives the same
neighbours on both, and one with lists gives on the GPU those too that its lists miss. Where the vectors do not fit the
memory budget, the GPU has no room for them, or a query asks for more rows than a GPU sorts, the CPU searches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.vector_index.candidates import FLAT_SPARE, QUERIES_BY_BLAS, with_ties
from models.vector_index.rules import ROWS_PER_CHUNK

if TYPE_CHECKING:
    from models.protocols import Floats
    from models.vector_index.candidates import Candidates, Rows
    from models.vector_index.store import VectorStore

# B queries, P rows of one part, D embedding

ROWS_PER_PART = 65_536
"""Rows sent to the GPU at a time: what is in its memory is never copied to grow."""
SCRATCH_BYTES = 256 << 20
"""Memory of the GPU that Faiss computes in."""
MOST_ROWS = 2048
"""Rows that a GPU finds for one query at most."""


def num_gpus() -> int:
    """GPUs that Faiss can use: none for the package faiss-cpu."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def gpu_number(device: str) -> int | None:
    """The GPU that a device (`auto`, `cpu`, `cuda`, `cuda:1`) means to Faiss, or None for the CPU."""
    kind, _, number = device.partition(":")
    wanted = int(number or 0)
    return wanted if kind in ("auto", "cuda") and wanted < num_gpus() else None


def gpu_bytes(count: int, dim: int) -> int:
    """Memory that the vectors take on the GPU, what is computed in included."""
    return count * dim * 4 + SCRATCH_BYTES


class GpuCandidates:
    """All vectors on one GPU, in float32. `cpu` finds what the GPU cannot."""

    is_exact = True

    def __init__(self, store: VectorStore, cpu: Candidates, gpu: int) -> None:
        """Copy the vectors. Raises RuntimeError, as Faiss does, when the GPU has no room."""
        import faiss

        self._cpu = cpu
        self._resources = faiss.StandardGpuResources()  # Faiss does not keep it alive
        self._resources.setTempMemory(SCRATCH_BYTES)
        config = faiss.GpuIndexFlatConfig()
        config.device = gpu
        self._parts: list[Any] = []
        shards: Any = faiss.IndexShards  # its type has not all that it takes
        self._index: Any = shards(store.dim, False, True)  # no threads, rows numbered on from part to part
        for start in range(0, store.count, ROWS_PER_PART):
            part = faiss.GpuIndexFlatIP(self._resources, store.dim, config)
            part.add(_block(store, start, min(start + ROWS_PER_PART, store.count)))
            self._parts.append(part)
            self._index.add_shard(part)

    def nearest(self, queries_BD: Floats, k: int, effort: int) -> list[Rows]:
        """The nearest `k`, a few more, and all that tie with the last of these."""
        if self._index is None or k + FLAT_SPARE > MOST_ROWS:
            return self._cpu.nearest(queries_BD, k, effort)
        found: list[Rows] = []
        try:
            for start in range(0, len(queries_BD), QUERIES_BY_BLAS):
                found += self._nearest(queries_BD[start : start + QUERIES_BY_BLAS], k, effort)
        except RuntimeError:  # the GPU's memory was given to something else meanwhile
            self._index, self._parts = None, []
            return self._cpu.nearest(queries_BD, k, effort)
        return found

    def _nearest(self, queries_BD: Floats, k: int, effort: int) -> list[Rows]:
        found, tied = with_ties(self._index.search, queries_BD, k, min(self._index.ntotal, MOST_ROWS))
        if len(tied) and self._index.ntotal > MOST_ROWS:
            for place, rows_C in zip(tied, self._cpu.nearest(queries_BD[tied], k, effort), strict=True):
                found[place] = rows_C
        return found


def on_gpu(store: VectorStore, cpu: Candidates, device: str, budget_bytes: int) -> Candidates:
    """Candidates by the GPU of `device`, or by `cpu` without a GPU, room on it or in the budget."""
    gpu = gpu_number(device)
    if gpu is None or not store.count or gpu_bytes(store.count, store.dim) > budget_bytes:
        return cpu
    try:
        return GpuCandidates(store, cpu, gpu)
    except RuntimeError:
        return cpu


def _block(store: VectorStore, start: int, stop: int) -> Floats:
    vectors_PD = np.empty((stop - start, store.dim), np.float32)
    for at in range(start, stop, ROWS_PER_CHUNK):
        end = min(at + ROWS_PER_CHUNK, stop)
        vectors_PD[at - start : end - start] = store.block(at, end)
    return vectors_PD
