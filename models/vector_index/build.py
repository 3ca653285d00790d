"""Builds the index over vectors that lie in a `VectorStore`: choose, train, fill in parallel, merge, save.

The same vectors give the same bytes with any number of threads, on CPUs with the same vector instructions. The vectors
in another order give the same lists (they are trained on a sample drawn by id) and, after exact re-ranking, the same
neighbours. Centres of lists that Faiss finds with other instructions, or on a GPU where it has one, differ as far as
sums in float32 do.
"""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from core.machine import num_cores
from models.vector_index.gpu import num_gpus
from models.vector_index.rules import ROWS_PER_CHUNK, IndexSettings, Rule, choose_rule, choose_threads, query_bytes
from models.vector_index.store import VectorStore

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from models.protocols import Floats

METRIC = "inner_product"
FORMAT = 1
KMEANS_ROUNDS = 10


def build_index(
    folder: Path,
    name: str,
    settings: IndexSettings | None = None,
    *,
    num_threads: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Index the vectors that a `VectorWriter` left in `folder` under `name`. Returns the content of the meta file.

    At most `num_threads` (default: all cores of this process, as nothing else runs while a collection is indexed) fill
    it, fewer where the memory budget asks for that; they decide nothing but speed. Where Faiss has GPUs, they find the
    lists' centres unless `device` is `cpu`. Raises `VectorIndexError`, with the numbers, before any work when the
    budget is too small.
    """
    import faiss

    settings = settings or IndexSettings()
    store = VectorStore(folder, name)
    count, dim = store.count, store.dim
    rule = choose_rule(count, dim, settings)
    index_file = index_path(folder, name)
    index_file.unlink(missing_ok=True)
    if rule.kind == "ivf_pq":
        threads = num_threads or num_cores()
        trained = _train(store, rule, settings.seed, threads, uses_gpus=device != "cpu" and num_gpus() > 0)
        index = _fill(trained, store, choose_threads(threads, rule, count, dim, settings))
        faiss.write_index(index, str(index_file))
    meta = {
        "format": FORMAT, "count": count, "dim": dim, "metric": METRIC, "dtype": "float16", "rule": asdict(rule),
        "settings": asdict(settings), "query_bytes": query_bytes(rule, count, dim),
        "index_bytes": index_file.stat().st_size if index_file.exists() else 0,
    }  # fmt: skip
    meta_path(folder, name).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    return meta


def index_path(folder: Path, name: str) -> Path:
    """The path of Faiss's own file of pool `name`. A flat index has none."""
    return folder / f"{name}.index.faiss"


def meta_path(folder: Path, name: str) -> Path:
    """The path of the file with count, dimension and rule of pool `name`."""
    return folder / f"{name}.meta.json"


def training_rows(ids: npt.NDArray[np.bytes_], number: int, seed: int) -> npt.NDArray[np.int64]:
    """`number` rows drawn by a hash of their ids, the same vectors for any order of rows."""
    drawn = np.fromiter((zlib.crc32(i, seed & 0xFFFF_FFFF) for i in ids), np.uint32, len(ids))
    if number < len(ids):
        rows = np.flatnonzero(drawn <= np.partition(drawn, number - 1)[number - 1])
    else:
        rows = np.arange(len(ids))
    return rows[np.lexsort((drawn[rows], ids[rows]))][:number]


def _train(store: VectorStore, rule: Rule, seed: int, num_threads: int, *, uses_gpus: bool = False) -> Any:
    import faiss

    vectors_RD = store.rows(training_rows(store.ids, rule.train_rows, seed))
    threads_before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(num_threads)
    try:
        if uses_gpus:
            try:
                return _trained(vectors_RD, rule, seed, faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(store.dim)))
            except RuntimeError:  # no room on a GPU
                pass
        return _trained(vectors_RD, rule, seed, None)
    finally:
        faiss.omp_set_num_threads(threads_before)


def _trained(vectors_RD: Floats, rule: Rule, seed: int, comparing: Any) -> Any:
    """An index with its centres and codes. `comparing` compares vectors and centres, on GPUs."""
    import faiss

    kind = f"IVF{rule.num_lists},PQ{rule.num_codes}x4fs"
    index: Any = faiss.index_factory(vectors_RD.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True  # by default Faiss codes whole vectors here; candidates are then far worse
    index.cp.niter, index.cp.seed, index.pq.cp.seed = KMEANS_ROUNDS, seed, seed
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, rule.train_rows
    index.clustering_index = comparing
    index.train(vectors_RD)
    index.clustering_index = None
    return index


def _fill(trained: Any, store: VectorStore, num_threads: int) -> Any:
    """Every thread fills a copy of the trained index with some rows. The copies are joined in order."""
    import faiss

    chunks = range(0, store.count, ROWS_PER_CHUNK)  # one grid for any number of threads: BLAS rounds by shape
    runs = [run for run in np.array_split(chunks, num_threads) if len(run)]

    def fill(run: npt.NDArray[np.int64]) -> Any:
        faiss.omp_set_num_threads(1)  # of this thread alone
        part = faiss.clone_index(trained)
        for start in run.tolist():
            stop = min(start + ROWS_PER_CHUNK, store.count)
            part.add_with_ids(store.block(start, stop), np.arange(start, stop))
        return part

    with ThreadPoolExecutor(len(runs)) as pool:
        parts = list(pool.map(fill, runs))
    index = parts.pop(0)
    while parts:
        index.merge_from(parts.pop(0), 0)
    _clear_padding(index)
    return index


def _clear_padding(index: Any) -> None:
    """Zero the places behind the last vector of every list: a merge leaves there what was in memory."""
    import faiss

    packer, nothing = index.get_CodePacker(), np.zeros(index.code_size, np.uint8)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size % packer.nvec:
            num_blocks = -(-size // packer.nvec)
            codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), num_blocks * packer.block_size)
            last_block = codes.reshape(num_blocks, packer.block_size)[-1:]
            for place in range(size % packer.nvec, packer.nvec):
                packer.pack_1(nothing, place, last_block)
