"""The index that suits so many vectors of so many dimensions, and its memory, known before it is built.

Up to `flat_below` vectors are compared with every query (`flat`): exact, and 100,000 of 512 dimensions take 0.2 GB and
a millisecond of one core a query in large batches, eight in small ones. More go into an inverted file with
product-quantised residuals (`ivf_pq`):

- lists: the power of two nearest to sqrt(count), 16 to 65,536; a query looks at 64 of them, or 2 sqrt(lists) if more;
- codes: 4 bits for every 2 dimensions, or for every 4, 8, 16, whichever is the first that fits the memory budget. What
  the codes lose is won back by exact re-ranking, so nothing longer is tried;
- training: 64 vectors a list, or 32, 16 where the budget is tight.

Source  Jégou et al. 2011, product quantisation; André et al. 2017, 4-bit codes in registers; the rule of lists is that
        of the Faiss wiki with the constant 1. Figures behind the constants: benchmarks/retrieval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal

ROWS_PER_CHUNK = 4096
"""Rows that one thread reads, converts and adds at a time."""
MIN_ROWS_IVF = 1024
DIMS_PER_CODE = (2, 4, 8, 16)
TRAIN_ROWS_PER_LIST = (64, 32, 16)
MIN_LISTS, MAX_LISTS = 16, 65_536
MIN_PROBES = 64

BUILD_BYTES = 128 << 20
"""Memory that does not grow with the index: buffers of BLAS and Faiss, and remains of the rows that were written."""
QUERY_BYTES = 64 << 20
"""The same, and the queries in hand."""
THREAD_BYTES = 32 << 20
"""The same for every thread that fills."""
ROOM_TO_GROW = 2.0
"""Lists that are filled grow by doubling."""
ROOM_TO_READ = 1.15
"""Lists that are read are padded to 32 vectors and to whole pages."""
ROW_BYTES = 8
"""Faiss's number of a vector."""
ID_BYTES = 16


class VectorIndexError(ValueError):
    """An index cannot be built as asked, or a folder holds none that can be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSettings:
    """The settings that decide an index, together with its vectors."""

    memory_budget_bytes: int = 4 << 30
    """Memory that building, and later searching, may each take above a process with Faiss loaded."""
    flat_below: int = 100_000
    """Fewer vectors than this are compared one by one, where the budget has room for them in float32."""
    num_probes: int | None = None
    """Lists that a query looks at; none: by rule."""
    rerank: int = 10
    """Candidates by code whose cosines are computed, for each neighbour asked for."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The kind of index that is built. All but `kind` is 0 for a flat one."""

    kind: Literal["flat", "ivf_pq"]
    num_lists: int = 0
    num_probes: int = 0
    num_codes: int = 0
    """Codes of 4 bits that represent one vector."""
    train_rows: int = 0

    @property
    def code_bytes(self) -> int:
        """Bytes of one vector's codes."""
        return (self.num_codes + 1) // 2


def choose_rule(count: int, dim: int, settings: IndexSettings) -> Rule:
    """The first rule that fits the budget when it is built by one thread, and when it is searched.

    Raises `VectorIndexError` with the numbers when none does.
    """
    rules = _rules(count, dim, settings)
    needed = [max(build_bytes(rule, count, dim, 1), query_bytes(rule, count, dim)) for rule in rules]
    fitting = (rule for rule, size in zip(rules, needed, strict=True) if size <= settings.memory_budget_bytes)
    rule = next(fitting, None)
    if rule is None:
        raise VectorIndexError(
            f"an index of {count:,} vectors of {dim} dimensions needs at least {_mb(min(needed))}, "
            f"memory_budget_bytes allows {_mb(settings.memory_budget_bytes)}; raise it or split the vectors into pools"
        )
    return rule


def choose_threads(most: int, rule: Rule, count: int, dim: int, settings: IndexSettings) -> int:
    """The number of threads, up to `most`, that may fill the index within the budget, at least 1."""
    fitting = (n for n in range(most, 1, -1) if build_bytes(rule, count, dim, n) <= settings.memory_budget_bytes)
    return next(fitting, 1)


def build_bytes(rule: Rule, count: int, dim: int, num_threads: int) -> int:
    """Peak memory of training, filling and merging. Vectors lie in a file and do not count, their ids do."""
    if rule.kind == "flat":
        return BUILD_BYTES
    centres = rule.num_lists * dim * 4
    training = rule.train_rows * dim * 6 + count * (ID_BYTES + 9)  # float16 and float32; a hash an id
    chunks = num_threads * (ROWS_PER_CHUNK * dim * 16 + THREAD_BYTES + centres)
    lists = int(count * ROOM_TO_GROW * (rule.code_bytes + 2 * ROW_BYTES))  # row numbers of parts stay till the end
    return BUILD_BYTES + 2 * centres + max(training, chunks + lists)


def query_bytes(rule: Rule, count: int, dim: int) -> int:
    """Memory of a loaded index while it is searched, ids included, vectors left in their file."""
    if rule.kind == "flat":
        return QUERY_BYTES + count * (dim * 4 + ID_BYTES)
    lists = int(count * ROOM_TO_READ * (rule.code_bytes + ROW_BYTES))
    return QUERY_BYTES + 2 * rule.num_lists * dim * 4 + lists + count * ID_BYTES


def _rules(count: int, dim: int, settings: IndexSettings) -> list[Rule]:
    flat = [Rule(kind="flat")] if count < max(settings.flat_below, MIN_ROWS_IVF) else []
    if count < MIN_ROWS_IVF:
        return flat
    lists = min(max(2 ** round(math.log2(count) / 2), MIN_LISTS), MAX_LISTS)
    probes = min(settings.num_probes or max(MIN_PROBES, round(2 * math.sqrt(lists))), lists)
    codes = list(dict.fromkeys(_divisor(dim, dim // per_code) for per_code in DIMS_PER_CODE))
    return flat + [
        Rule(
            kind="ivf_pq", num_lists=lists, num_probes=probes, num_codes=num_codes,
            train_rows=min(count, per_list * lists),
        )
        for num_codes, per_list in product(codes, TRAIN_ROWS_PER_LIST)
    ]  # fmt: skip


def _divisor(dim: int, most: int) -> int:
    """The largest divisor of `dim` that is at most `most`, at least 1."""
    return next(n for n in range(max(most, 1), 0, -1) if dim % n == 0)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
