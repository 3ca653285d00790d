"""Nearest neighbours by cosine over stored unit vectors: approximate candidates, exact cosines.

A folder holds one index a pool: `<pool>.vectors.npy` (float16), `<pool>.ids.npy`, `<pool>.meta.json` and, for more
vectors than are compared one by one, `<pool>.index.faiss`. Which kind is built and what memory it takes is in
`models.vector_index.rules`; writing rows is `VectorWriter`, building `build_index`, searching `VectorIndex`.

The hits of one query do not depend on the other queries, nor on the number of threads: candidates are the
same however BLAS orders its sums, their cosines are computed row by row from the stored vectors, and ties go to
the smaller id. With other vector instructions cosines differ in their last bits, and lists may be other ones, as
`build` says. Where Faiss has a GPU, it finds the centres of the lists, and all vectors are compared on
it when they fit: see `gpu`.

Source  Johnson et al. 2019, Faiss (inverted file, product quantisation, re-ranking).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.vector_index.build import FORMAT, METRIC, build_index, index_path, meta_path
from models.vector_index.candidates import FlatCandidates, IvfCandidates
from models.vector_index.gpu import on_gpu
from models.vector_index.rules import IndexSettings, VectorIndexError
from models.vector_index.store import VectorStore, VectorWriter, row_lengths

if TYPE_CHECKING:
    from pathlib import Path

    from models.protocols import Floats
    from models.vector_index.candidates import Candidates, Rows

__all__ = [
    "Hits", "IndexSettings", "VectorIndex", "VectorIndexError", "VectorWriter", "build_index", "list_indexes",
]  # fmt: skip

# B queries, C candidates, R hits of one query, D embedding

META_SUFFIX = ".meta.json"


class Hits(NamedTuple):
    """Neighbours of one query, nearest first, ties by id.

    Of a flat index, and on a GPU, exactly those asked for. Of lists all that were looked at, about `rerank` times as
    many: among those asked for hardly any is missing, beyond them gaps grow.
    """

    ids: list[str]
    cos_R: Floats
    other_cos_R: Floats
    """Cosine with the query's companion in `others_BD`; empty without."""


_NO_HITS = Hits([], np.empty(0, np.float32), np.empty(0, np.float32))


def list_indexes(folder: Path) -> list[str]:
    """Names of the pools indexed in `folder`, sorted. Raises `VectorIndexError` when there is none."""
    names = sorted(path.name.removesuffix(META_SUFFIX) for path in folder.glob(f"*{META_SUFFIX}"))
    if not names:
        raise VectorIndexError(f"{folder} holds no vector index (no *{META_SUFFIX}); build one with the stage index")
    return names


class VectorIndex:
    """One pool, ready to be searched by one thread at a time."""

    def __init__(
        self, folder: Path, name: str, *, memory_budget_bytes: int | None = None, device: str = "auto"
    ) -> None:
        """Load the files that `build_index` left.

        Vectors are mapped into memory when they fit the budget (default: that of the build) next to the index;
        otherwise they are read from their file row by row, which is slower. On `device`, unless it is `cpu`, vectors
        in float32 may take as much again. Raises `VectorIndexError` when files are missing, damaged, or of another
        build.
        """
        self.meta = _read_meta(meta_path(folder, name))
        self._store = VectorStore(folder, name)
        self.count, self.dim = self._store.count, self._store.dim
        _check_same(folder, name, "the vectors are", (self.count, self.dim), (self.meta["count"], self.meta["dim"]))
        budget = memory_budget_bytes or self.meta["settings"]["memory_budget_bytes"]
        self._store.is_mapped = self._store.num_bytes <= budget - self.meta["query_bytes"]
        cpu = self._open_candidates(folder, name)
        self._candidates: Candidates = on_gpu(self._store, cpu, device, budget)

    def _open_candidates(self, folder: Path, name: str) -> Candidates:
        if self.meta["rule"]["kind"] == "flat":
            return FlatCandidates(self._store)
        path = index_path(folder, name)
        size = path.stat().st_size if path.exists() else 0
        _check_same(folder, name, "the bytes of its Faiss file are", (size,), (self.meta["index_bytes"],))
        opened = IvfCandidates(path, self.meta["rule"], self.meta["settings"]["rerank"])
        _check_same(folder, name, "the codes are", opened.shape, (self.count, self.dim))
        return opened

    def search(self, queries_BD: Floats, k: int, *, others_BD: Floats | None = None, effort: int = 1) -> list[Hits]:
        """For every query its `k` nearest neighbours, or all there are. Lists may give some more than `k`.

        Queries, and their companions in `others_BD` that the hits are compared with as well, are float32 of unit
        length. `effort` multiplies how many lists are looked at. Raises `VectorIndexError` for queries of another
        dimension than the index.
        """
        if not self.count or not len(queries_BD):
            return [_NO_HITS] * len(queries_BD)
        if queries_BD.ndim != 2 or queries_BD.shape[1] != self.dim:
            raise VectorIndexError(
                f"queries have shape {queries_BD.shape}, the index holds vectors of {self.dim} dimensions; "
                "query with the model that made them"
            )
        candidates = self._candidates.nearest(np.ascontiguousarray(queries_BD), k, effort)
        others: Any = [None] * len(queries_BD) if others_BD is None else others_BD
        most = k if self._candidates.is_exact else None
        return [self._rank(*one, most) for one in zip(candidates, queries_BD, others, strict=True)]

    def _rank(self, rows_C: Rows, query_D: Floats, other_D: Floats | None, most: int | None) -> Hits:
        rows_R = rows_C[rows_C >= 0]
        vectors_RD = self._store.rows(rows_R)
        lengths_R = row_lengths(vectors_RD)
        cos_R = _dots(vectors_RD, query_D) / lengths_R
        order_R = np.lexsort((self._store.ids[rows_R], -cos_R))[:most]
        other_cos_R = _NO_HITS.other_cos_R if other_D is None else (_dots(vectors_RD, other_D) / lengths_R)[order_R]
        return Hits(self._store.ids_of(rows_R[order_R]), cos_R[order_R], other_cos_R)


def _dots(vectors_RD: Floats, query_D: Floats) -> Floats:
    """(R,) dot products. A row's does not depend on the other rows, as it would with BLAS."""
    dots_R: Floats = np.einsum("rd,d->r", vectors_RD, query_D)
    return dots_R


def _check_same(folder: Path, name: str, what: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise VectorIndexError(
            f"{folder}: pool {name} is damaged or mixed from two builds: {what} {found}, expected {wanted}; build again"
        )


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads(path.read_bytes())
        kind = meta["format"], meta["metric"]
        _ = meta["rule"]["kind"], meta["settings"]["rerank"], meta["query_bytes"], meta["index_bytes"]
    except FileNotFoundError as error:
        raise VectorIndexError(f"{path} is missing; build the index with the stage index") from error
    except (ValueError, KeyError, TypeError) as error:
        raise VectorIndexError(f"{path} does not describe a vector index ({error!r}); build it again") from error
    if kind != (FORMAT, METRIC):
        raise VectorIndexError(f"{path} is of kind {kind}, this version knows {(FORMAT, METRIC)}; build it again")
    return meta
