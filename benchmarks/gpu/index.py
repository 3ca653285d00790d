"""The vector index on a GPU against the same on the CPU: build, search, recall, agreement, in one run.

CLIP-like vectors made by code (benchmarks/retrieval/vectors.py), two sets of held-out queries, exact truth by torch.
Needs Faiss, with GPU support for the GPU's side; without a GPU the CPU alone is measured. Bars: on the GPU the nearest
neighbour is found in 999 of 1,000 queries, and an index without lists gives the same answers on both.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # before Faiss: it brings the CUDA libraries that the GPU build of Faiss may share

import faiss  # isort: skip

from benchmarks.gpu.measure import Case, Measured
from benchmarks.retrieval.memory import per_query_ms
from benchmarks.retrieval.vectors import World
from models.vector_index.gpu import GpuCandidates, num_gpus
from models.vector_index.index import Hits, IndexSettings, VectorIndex, VectorWriter, build_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.gpu.measure import Work

LEAST_RECALL = 0.999
ONE_BY_ONE = 200
ROWS_PER_BLOCK = 50_000
FLAT_ROWS = 50_000
HITS = 10
DIM, NUM_QUERIES = 512, 1000


def index(work: Work) -> Iterator[Case]:
    """One measurement, one row of the table for each way to build and to search."""
    count, dim, num_queries = work.pick((work.index_rows, DIM, NUM_QUERIES), (3_000, 32, 50))
    result: dict[str, Any] = {}

    def first() -> Measured:
        with tempfile.TemporaryDirectory(prefix="bench-index-", dir=work.folder) as folder:
            result.update(measure(count, dim, num_queries, Path(folder)))
        return _row(result, 0)

    yield Case(f"{count:,} vectors, built on CPU, searched on CPU", first)
    for number, row in enumerate(result.get("rows", [])[1:], start=1):
        name = f"{count:,} vectors, built on {row['built']}, searched on {row['searched']}"
        yield Case(name, partial(_row, result, number))


def _row(result: dict[str, Any], number: int) -> Measured:
    row = result["rows"][number]
    recalls = " / ".join(f"{row[f'{name}_recall_1']:.3f}" for name in ("image", "edit"))
    flat = result["flat_equal"]
    built_s = result["build_s"]["cpu" if row["built"] == "CPU" else "auto"]
    return Measured(
        per_second=1000 / row["image_batch_ms"], unit="queries", batch=result["queries"],
        notes=f"recall@1 {recalls}, one by one {row['image_single_ms']:.2f} ms, built in {built_s:.1f} s, "
        f"{flat['equal']} of {flat['queries']} answers without lists equal to the CPU's",
        more=result if number == 0 else {},
        missed=tuple(missed(result)) if number == 0 else (),
    )  # fmt: skip


def measure(count: int, dim: int, num_queries: int, folder: Path) -> dict[str, Any]:
    """All figures."""
    threads = faiss.omp_get_max_threads()
    world = World(dim)
    vectors = make_vectors(world, count)
    rng = np.random.default_rng(1)
    queries = {"image": world.images(rng, num_queries), "edit": world.edits(rng, num_queries)}
    truth = {name: exact(vectors, few) for name, few in queries.items()}
    devices = ["cpu", "auto"] if num_gpus() else ["cpu"]
    built = {device: built_on(device, vectors, folder / device, threads) for device in devices}
    rows = [searched(on, folder / on, device, queries, truth) for on in devices for device in devices]
    agree(rows)
    flat = flat_answers(vectors[:FLAT_ROWS], folder / "flat", queries, devices)
    return {
        "faiss": faiss.__version__, "threads": threads, "count": count, "dim": dim, "queries": num_queries,
        "build_s": built, "rows": rows, "flat_equal": flat,
    }  # fmt: skip


def make_vectors(world: World, count: int) -> Any:
    """(count, D) float16 unit vectors, the same at every run on one machine."""

    def block(start: int) -> Any:
        rng = np.random.default_rng([0, start])
        return world.images(rng, min(ROWS_PER_BLOCK, count - start)).astype(np.float16)

    with ThreadPoolExecutor(4) as pool:
        return np.concatenate(list(pool.map(block, range(0, count, ROWS_PER_BLOCK))))


def exact(vectors: Any, queries: Any) -> Any:
    """(B, HITS) rows of the nearest stored vectors, by torch in float32 and, for those near the best, float64."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    queries_BD = torch.from_numpy(queries).to(device)
    best_cos, best_rows = [], []
    for start in range(0, len(vectors), 8 * ROWS_PER_BLOCK):
        block = torch.from_numpy(vectors[start : start + 8 * ROWS_PER_BLOCK]).to(device).float()
        cos, rows = torch.topk(queries_BD @ torch.nn.functional.normalize(block).T, min(4 * HITS, len(block)))
        best_cos.append(cos.cpu())
        best_rows.append(rows.cpu() + start)
    cos, rows = torch.cat(best_cos, 1), torch.cat(best_rows, 1)
    near = rows.gather(1, cos.topk(min(2 * HITS, cos.shape[1])).indices).numpy()
    stored = vectors[near].astype(np.float64)
    stored /= np.linalg.norm(stored, axis=2, keepdims=True)
    order = np.argsort(-np.einsum("brd,bd->br", stored, queries.astype(np.float64)), axis=1)[:, :HITS]
    return np.take_along_axis(near, order, 1)


def built_on(device: str, vectors: Any, folder: Path, threads: int, settings: IndexSettings | None = None) -> float:
    """Seconds that `build_index` takes after the vectors are written."""
    folder.mkdir()
    writer = VectorWriter(folder, "all")
    for start in range(0, len(vectors), ROWS_PER_BLOCK):
        block = vectors[start : start + ROWS_PER_BLOCK]
        writer.add([f"{n:016x}" for n in range(start, start + len(block))], block)
    writer.close()
    began = time.monotonic()
    build_index(folder, "all", settings or IndexSettings(flat_below=0), num_threads=threads, device=device)
    return time.monotonic() - began


def searched(on: str, folder: Path, device: str, queries: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Load and search on a device what was built on another."""
    began = time.monotonic()
    index = VectorIndex(folder, "all", device=device)
    row: dict[str, Any] = {
        "built": name_of(on), "searched": name_of(device), "load_s": time.monotonic() - began,
        "is_on_gpu": isinstance(index._candidates, GpuCandidates),  # noqa: SLF001  what is measured
    }  # fmt: skip
    for name, few in queries.items():
        found = rows_of(index.search(few, HITS))
        row[f"{name}_rows"] = found
        row[f"{name}_recall_1"] = float(np.mean([f[0] == t[0] for f, t in zip(found, truth[name], strict=True)]))
        shared = [len(set(f) & set(t.tolist())) / HITS for f, t in zip(found, truth[name], strict=True)]
        row[f"{name}_recall_10"] = float(np.mean(shared))
        row[f"{name}_batch_ms"] = per_query_ms(lambda q: index.search(q, HITS), few)
        row[f"{name}_single_ms"] = per_query_ms(
            lambda q: [index.search(one[None], HITS) for one in q], few[:ONE_BY_ONE]
        )
    return row


def name_of(device: str) -> str:
    """The device as the table has it."""
    return "CPU" if device == "cpu" else "GPU"


def rows_of(hits: list[Hits]) -> list[list[int]]:
    """Numbers of the rows found."""
    return [[int(i, 16) for i in h.ids[:HITS]] for h in hits]


def agree(rows: list[dict[str, Any]]) -> None:
    """Add the share of queries whose nearest row is that of the first line, which is CPU alone."""
    first = dict(rows[0])
    for row in rows:
        for name in ("image", "edit"):
            pairs = zip(row.pop(f"{name}_rows"), first[f"{name}_rows"], strict=True)
            row[f"{name}_same_1"] = float(np.mean([a[0] == b[0] for a, b in pairs]))


def flat_answers(vectors: Any, folder: Path, queries: dict[str, Any], devices: list[str]) -> dict[str, int]:
    """The number of queries for which an index without lists gives equal ids and cosines on both."""
    built_on("cpu", vectors, folder, 1, IndexSettings())
    answers = {
        device: [(h.ids, h.cos_R.tolist()) for few in queries.values() for h in opened.search(few, HITS)]
        for device in devices
        for opened in [VectorIndex(folder, "all", device=device)]
    }
    pairs = list(zip(answers["cpu"], answers[devices[-1]], strict=True))
    return {"queries": len(pairs), "equal": sum(a == b for a, b in pairs)}


def missed(result: dict[str, Any]) -> list[str]:
    """Bars that were not reached."""
    on_gpu = [row for row in result["rows"] if row["searched"] == "GPU"]
    failures = [
        f"{key} on the GPU is {row[key]:.4f}, the bar is {LEAST_RECALL}"
        for row in on_gpu for key in ("image_recall_1", "edit_recall_1") if row[key] < LEAST_RECALL
    ]  # fmt: skip
    failures += ["a GPU is there and was not used" for row in on_gpu if not row["is_on_gpu"]]
    flat = result["flat_equal"]
    if flat["equal"] < flat["queries"]:
        failures.append(f"{flat['queries'] - flat['equal']} answers without lists differ between GPU and CPU")
    return failures
