"""One step of `models.vector_index.index` in a process of its own, which prints JSON. `run.py` starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.retrieval.memory import measured, per_query_ms
from models.vector_index.index import IndexSettings, VectorIndex, VectorWriter, build_index
from models.vector_index.rules import Rule, build_bytes

ONE_BY_ONE = 200


def build(folder: Path, out: Path, budget_bytes: int, threads: int) -> dict[str, Any]:
    """From blocks of vectors to an index, with a copy of the vectors next to it."""

    def step() -> dict[str, Any]:
        writer, done = VectorWriter(out, "all"), 0
        for path in sorted((folder / "blocks").iterdir()):
            block = np.load(path)
            writer.add([f"{n:016x}" for n in range(done, done + len(block))], block)
            done += len(block)
        writer.close()
        return build_index(out, "all", IndexSettings(memory_budget_bytes=budget_bytes), num_threads=threads)

    meta, seconds, grown = measured(step)
    size = sum(path.stat().st_size for path in out.iterdir())
    rule = {key: value for key, value in meta["rule"].items() if value}
    kind = " ".join(str(v) if k == "kind" else f"{k} {v}" for k, v in rule.items())
    estimate = build_bytes(Rule(**meta["rule"]), meta["count"], meta["dim"], threads)
    return {
        "kind": kind, "build_s": seconds, "build_bytes": grown, "disk_bytes": size, "estimated_build_bytes": estimate,
        "estimated_query_bytes_without_vectors": meta["query_bytes"],
    }  # fmt: skip


def query(folder: Path, out: Path, budget_bytes: int) -> dict[str, Any]:
    """Load the index and search it."""

    def step() -> dict[str, Any]:
        index = VectorIndex(out, "all", memory_budget_bytes=budget_bytes)
        found: dict[str, Any] = {}
        for name in ("image", "edit"):
            queries = np.load(folder / f"{name}.npy")
            hits = index.search(queries, 10)
            found[f"{name}_rows"] = [[int(i, 16) for i in h.ids[:10]] for h in hits]
            found[f"{name}_batch_ms"] = per_query_ms(lambda q: index.search(q, 10), queries)
            few = queries[:ONE_BY_ONE]
            found[f"{name}_single_ms"] = per_query_ms(lambda q: [index.search(one[None], 10) for one in q], few)
        return found

    found, _, grown = measured(step)
    return {**found, "query_bytes": grown}


def main() -> None:
    """ours.py build|query FOLDER OUT BUDGET_BYTES THREADS."""
    step, folder, out, budget, threads = sys.argv[1:]
    faiss.omp_set_num_threads(int(threads))
    faiss.knn(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32), 1)  # its libraries are loaded
    paths = Path(folder), Path(out)
    made = build(*paths, int(budget), int(threads)) if step == "build" else query(*paths, int(budget))
    print(json.dumps(made))


if __name__ == "__main__":
    main()
