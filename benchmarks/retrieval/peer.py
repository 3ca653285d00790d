"""One step of autofaiss in a process of its own, which prints JSON. `run.py` starts it with the peer's interpreter.

The index is built as clip-retrieval's `clip index` builds it: paths, memory and cores are given, all else is left to
autofaiss. It needs a tenth of the memory next to the index, so the index may take nine tenths of the budget.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.retrieval.memory import measured, per_query_ms

ONE_BY_ONE = 200
RECALL = 0.95


class Refusals(logging.Handler):
    """Keeps the errors that autofaiss logs: it does not raise them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.messages.append(record.getMessage())


def build(folder: Path, out: Path, budget_mib: int, threads: int) -> dict[str, Any]:
    """From blocks of vectors to a tuned index."""
    refusals = Refusals()
    autofaiss = importlib.import_module("autofaiss")
    logging.getLogger("autofaiss").addHandler(refusals)
    (_, infos), seconds, grown = measured(
        lambda: autofaiss.build_index(
            embeddings=str(folder / "blocks"), index_path=str(out / "peer.index"),
            index_infos_path=str(out / "peer.json"), max_index_memory_usage=f"{budget_mib * 9 // 10}MB",
            current_memory_available=f"{budget_mib}MB", nb_cores=threads,
        )
        or (None, None)
    )  # fmt: skip
    if refusals.messages or infos is None:
        return {"refused": " ".join(refusals.messages)}
    size = sum(path.stat().st_size for path in out.iterdir())
    kind = f"{infos['index_key']} {infos['index_param']}"
    return {"kind": kind, "build_s": seconds, "build_bytes": grown, "disk_bytes": size}


def query(folder: Path, out: Path) -> dict[str, Any]:
    """Load the index and search it as it was tuned, then with the least effort that reaches the recall."""

    def step() -> dict[str, Any]:
        index = faiss.read_index(str(out / "peer.index"))
        infos = json.loads((out / "peer.json").read_text(encoding="utf-8"))
        space: Any = faiss.ParameterSpace()
        space.set_index_parameters(index, infos["index_param"])
        tuned = ask(index, folder)
        parameter = infos["index_param"].partition("=")[0]
        return {**tuned, "least": least(index, folder, parameter)}

    found, _, grown = measured(step)
    return {**found, "query_bytes": grown}


def ask(index: Any, folder: Path) -> dict[str, Any]:
    """Neighbours and times of both sets of queries."""
    found: dict[str, Any] = {}
    for name in ("image", "edit"):
        queries = np.load(folder / f"{name}.npy")
        found[f"{name}_rows"] = index.search(queries, 10)[1].tolist()
        found[f"{name}_batch_ms"] = per_query_ms(lambda q: index.search(q, 10), queries)
        few = queries[:ONE_BY_ONE]
        found[f"{name}_single_ms"] = per_query_ms(lambda q: [index.search(one[None], 10) for one in q], few)
    return found


def least(index: Any, folder: Path, parameter: str) -> list[dict[str, Any]]:
    """The same with the smallest power of two of the index's parameter that finds enough: of `image`, then of both."""
    space: Any = faiss.ParameterSpace()
    found: list[dict[str, Any]] = []
    for value in (2**n for n in range(3, 13)):
        space.set_index_parameters(index, f"{parameter}={value}")
        if min(recall(index, folder, name) for name in ("image", "edit")[: len(found) + 1]) < RECALL:
            continue
        found.append({**ask(index, folder), "kind": f"{parameter}={value}"})
        if recall(index, folder, "edit") >= RECALL:
            break
    return found


def recall(index: Any, folder: Path, name: str) -> float:
    """recall@1 of a set of queries."""
    queries, truth = np.load(folder / f"{name}.npy"), np.load(folder / f"{name}-truth.npy")
    return float((index.search(queries, 10)[1][:, 0] == truth[:, 0]).mean())


def main() -> None:
    """peer.py build|query FOLDER OUT BUDGET_MIB THREADS."""
    step, folder, out, budget, threads = sys.argv[1:]
    faiss.omp_set_num_threads(int(threads))
    paths = Path(folder), Path(out)
    made = build(*paths, int(budget), int(threads)) if step == "build" else query(*paths)
    print(json.dumps(made))


if __name__ == "__main__":
    main()
