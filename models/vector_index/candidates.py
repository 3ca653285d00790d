"""Finds the rows that may be nearest to a query: all rows, or those of the nearest lists.

The rows found for one query depend neither on the other queries nor on the number of threads. Faiss compares few
queries pair by pair and many by BLAS, whose sums differ in the last bits: so rows that near a tie are all taken, and
lists are chosen for few queries at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.vector_index.rules import ROWS_PER_CHUNK, VectorIndexError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from models.protocols import Floats
    from models.vector_index.store import VectorStore

    Rows = npt.NDArray[np.int64]

# B queries, P probed lists, C candidates, N stored vectors, D embedding

QUERIES_BY_BLAS = 1024
"""Queries compared with all vectors at a time."""
QUERIES_PAIR_BY_PAIR = 16
"""Faiss compares so few with the lists' centres without BLAS: fewer than 20, or of less than 128,000 numbers."""
QUERIES_BY_CODES = 256
"""Queries scanned at a time, so that Faiss's tables of their distances stay small."""
RESERVOIR = 13
"""Faiss's number for the scan that serves one query by one thread, whatever the batch."""
FLAT_SPARE = 16
"""Rows taken beyond those asked for, eight times as many again while all of them are as near as the last."""
NEAR_TIE = 1e-5
"""Cosines by BLAS are exact to about a millionth."""


class Candidates(Protocol):
    """Proposes rows."""

    is_exact: bool
    """True when the `k` nearest are sure to be among them."""

    def nearest(self, queries_BD: Floats, k: int, effort: int) -> list[Rows]:
        """For every query the numbers of at least `k` rows, in no order, with -1 where there are fewer."""
        ...


class FlatCandidates:
    """All vectors in memory, in float32."""

    is_exact = True

    def __init__(self, store: VectorStore) -> None:
        self._vectors_ND = np.empty((store.count, store.dim), np.float32)
        for start in range(0, store.count, ROWS_PER_CHUNK):
            stop = min(start + ROWS_PER_CHUNK, store.count)
            self._vectors_ND[start:stop] = store.block(start, stop)

    def nearest(self, queries_BD: Floats, k: int, effort: int) -> list[Rows]:  # noqa: ARG002  all are looked at anyway
        """The nearest `k`, a few more, and all that tie with the last of these."""
        found: list[Rows] = []
        for start in range(0, len(queries_BD), QUERIES_BY_BLAS):
            part_BD = queries_BD[start : start + QUERIES_BY_BLAS]
            found += with_ties(self._search, part_BD, k, len(self._vectors_ND))[0]
        return found

    def _search(self, queries_BD: Floats, number: int) -> tuple[Floats, Rows]:
        import faiss

        near: tuple[Floats, Rows] = faiss.knn(queries_BD, self._vectors_ND, number, metric=faiss.METRIC_INNER_PRODUCT)
        return near


def with_ties(
    search: Callable[[Floats, int], tuple[Floats, Rows]], queries_BD: Floats, k: int, most: int
) -> tuple[list[Rows], Rows]:
    """(for each query the nearest `k` rows, a few more, and all ties with the last, tied queries).

    `search` gives cosines and rows of so many, nearest first. Tied are queries whose `most` rows, the most that are
    asked for, are all as near as the last of the `k`.
    """
    number, spare = 0, FLAT_SPARE
    found: list[Rows] = [np.empty(0, np.int64)] * len(queries_BD)
    places = np.arange(len(queries_BD))
    while len(places) and number < most:
        number, spare = min(k + spare, most), 8 * spare
        cos_BC, rows_BC = search(queries_BD[places], number)
        for place, rows_C in zip(places.tolist(), rows_BC, strict=True):
            found[place] = rows_C
        places = places[cos_BC[:, min(k, number) - 1] - cos_BC[:, -1] <= NEAR_TIE]
    return found, places


class IvfCandidates:
    """An inverted file of 4-bit codes, read into memory: Faiss cannot map lists of this kind."""

    is_exact = False

    def __init__(self, path: Path, rule: dict[str, Any], rerank: int) -> None:
        """Read the file. Raises `VectorIndexError` when Faiss cannot, or when it holds another kind of index."""
        import faiss

        try:
            self._index: Any = faiss.read_index(str(path))
        except RuntimeError as error:
            reason = str(error).rpartition(": ")[2]
            raise VectorIndexError(f"{path} cannot be read ({reason}); build the index again") from error
        if not isinstance(self._index, faiss.IndexIVFPQFastScan):
            raise VectorIndexError(f"{path} holds a {type(self._index).__name__}; build the index again")
        self._index.implem = RESERVOIR
        self._num_probes, self._rerank = rule["num_probes"], rerank
        self.shape = (self._index.ntotal, self._index.d)

    def nearest(self, queries_BD: Floats, k: int, effort: int) -> list[Rows]:
        """The `k * rerank` best by their codes, from `effort` times as many lists as usual."""
        self._index.nprobe = probes = min(self._num_probes * effort, self._index.nlist)
        number = min(k * self._rerank, self._index.ntotal)
        found: list[Rows] = []
        for start in range(0, len(queries_BD), QUERIES_BY_CODES):
            part_BD = queries_BD[start : start + QUERIES_BY_CODES]
            cos_BP, lists_BP = self._nearest_lists(part_BD, probes)
            found += list(self._index.search_preassigned(part_BD, number, lists_BP, cos_BP)[1])
        return found

    def _nearest_lists(self, queries_BD: Floats, probes: int) -> tuple[Floats, Rows]:
        cos_BP = np.empty((len(queries_BD), probes), np.float32)
        lists_BP = np.empty((len(queries_BD), probes), np.int64)
        for start in range(0, len(queries_BD), QUERIES_PAIR_BY_PAIR):
            part = slice(start, start + QUERIES_PAIR_BY_PAIR)
            cos_BP[part], lists_BP[part] = self._index.quantizer.search(queries_BD[part], probes)
        return cos_BP, lists_BP
