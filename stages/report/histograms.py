"""Counts of one column, in bars, from batches that pass once, and from counts of other parts of the column.

Owns the choice of bars. Does not own how they are drawn (`stages.report.html`).
The result depends only on the values, not on their order or on how they were split into batches and parts: values are
counted in cells of a power of ten, cells are merged ten to one when there are too many, and bars are whole numbers of
cells. More values never have narrower bars. So the counts of a part are kept in cells that its own bars are made of.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from core.strict_json import Count, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Values: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[Any]

FINEST_EXPONENT = -4  # no bar is narrower than 0.0001
MOST_CELLS = 20_000
LARGEST_NUMBER = 1e15  # beyond it float64 cannot tell neighbouring cells apart


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """Bars of one column: `counts[i]` values fell under `labels[i]`.

    `edges` has one number more than `counts` for a numeric column (a bar holds its lower edge, not its upper one) and
    is empty for categories. `num_missing` counts nulls; `num_other` the values of categories that got no bar.
    """

    column: str
    unit: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    num_missing: int = 0
    num_other: int = 0


class NumericCounts(State):
    """The counts of a `NumericTally`, to store: `counts[i]` values in the cell `(first_cell + i) * 10^exponent`."""

    exponent: int
    first_cell: int
    counts: tuple[Count, ...]
    num_missing: Count
    is_whole: bool


class CategoryCounts(State):
    """The counts of a `CategoryTally`, to store."""

    counts: dict[str, Count]
    num_missing: Count


def numeric_histogram(values: Values, bins: int = 24, *, column: str = "", unit: str = "") -> Histogram:
    """`values` in at most `bins` bars, whose width is 1, 2 or 5 times a power of ten."""
    tally = NumericTally(column=column, unit=unit, bins=bins)
    tally.add(values)
    return tally.histogram()


def category_counts(values: Values, most: int = 20, *, column: str = "", unit: str = "") -> Histogram:
    """The `most` frequent values, most frequent first, equal ones in alphabetical order."""
    tally = CategoryTally(column=column, unit=unit, most=most)
    tally.add(values)
    return tally.histogram()


class NumericTally:
    """Numbers counted batch by batch, in bounded memory.

    Nulls, infinities, NaN and magnitudes over 1e15 count as missing. A column of whole numbers gets bars with whole
    edges. `bins` is at least 2, since no single bar of these widths spans zero; stored counts hold for the same `bins`.
    """

    def __init__(self, *, column: str, unit: str, bins: int = 24) -> None:
        if bins < 2:
            raise ValueError(f"bins is {bins}: expected 2 or more")
        self._column, self._unit, self._bins = column, unit, bins
        self._exponent = FINEST_EXPONENT
        self._cells: Counter[int] = Counter()
        self._num_missing = 0
        self._is_whole = True

    def add(self, values: Values) -> None:
        """Count one batch."""
        import numpy as np

        numbers = _as_floats(values)
        usable = numbers[np.abs(numbers) <= LARGEST_NUMBER]  # false for NaN too
        self._num_missing += len(numbers) - len(usable)
        self._is_whole &= bool((usable == np.floor(usable)).all())
        # 0.29 * 10^4 is 2899.9999999999995: rounding first keeps a value in the cell that it is written in
        cells, counts = np.unique(np.floor(np.round(usable * 10.0**-FINEST_EXPONENT, 6)), return_counts=True)
        merge = 10 ** (self._exponent - FINEST_EXPONENT)
        for cell, num in zip(cells.tolist(), counts.tolist(), strict=True):
            self._cells[int(cell) // merge] += num
        while len(self._cells) > MOST_CELLS:
            self._coarsen()

    def counts(self) -> NumericCounts:
        """The counts so far, for `merge` of another tally of the same number of `bins`: a few cells for each bar."""
        exponent, first = FINEST_EXPONENT, 0
        counts: list[int] = []
        if self._cells:
            exponent = self._bar_width(min(self._cells), max(self._cells))[2]
            merge = 10 ** (exponent - self._exponent)
            first = min(self._cells) // merge
            counts = [0] * (max(self._cells) // merge - first + 1)
            for cell, num in self._cells.items():
                counts[cell // merge - first] += num
        return NumericCounts(
            exponent=exponent, first_cell=first, counts=tuple(counts), num_missing=self._num_missing,
            is_whole=self._is_whole,
        )  # fmt: skip

    def merge(self, other: NumericCounts) -> None:
        """Add the counts of other values. The histogram is then the same as if the values had been added."""
        self._num_missing += other.num_missing
        self._is_whole &= other.is_whole
        exponent, finer = other.exponent, 1
        if other.is_whole and exponent == 0:  # each cell is one number, which may need a narrow bar among others
            exponent, finer = FINEST_EXPONENT, 10**-FINEST_EXPONENT
        while self._exponent < exponent:
            self._coarsen()
        coarser = 10 ** (self._exponent - exponent)
        for cell, num in enumerate(other.counts, other.first_cell):
            if num:
                self._cells[cell * finer // coarser] += num
        while len(self._cells) > MOST_CELLS:
            self._coarsen()

    def histogram(self) -> Histogram:
        """The histogram of all values so far."""
        if not self._cells:
            return self._made((), ())
        first, last = min(self._cells), max(self._cells)
        width, mantissa, exponent = self._bar_width(first, last)
        counts = [0] * (last // width - first // width + 1)
        for cell, num in self._cells.items():
            counts[cell // width - first // width] += num
        edges = [_scaled((first // width + i) * mantissa, exponent) for i in range(len(counts) + 1)]
        return self._made(counts, edges)

    def _coarsen(self) -> None:
        merged: Counter[int] = Counter()
        for cell, num in self._cells.items():
            merged[cell // 10] += num
        self._cells, self._exponent = merged, self._exponent + 1

    def _bar_width(self, first: int, last: int) -> tuple[int, int, int]:
        """The narrowest bar that needs at most `bins`, in cells and as mantissa * 10^exponent."""
        start = max(self._exponent, 0) if self._is_whole else self._exponent
        for exponent in count(start):
            for mantissa in (1, 2, 5):
                width = mantissa * 10 ** (exponent - self._exponent)
                if last // width - first // width < self._bins:
                    return width, mantissa, exponent
        raise AssertionError  # `count` does not end

    def _made(self, counts: Sequence[int], edges: Sequence[float]) -> Histogram:
        labels = [_range_label(low, high, is_whole=self._is_whole) for low, high in pairwise(edges)]
        return Histogram(
            column=self._column,
            unit=self._unit,
            labels=tuple(labels),
            counts=tuple(counts),
            edges=tuple(edges),
            num_missing=self._num_missing,
        )


class CategoryTally:
    """Values counted batch by batch. Memory grows with the number of distinct values."""

    def __init__(self, *, column: str, unit: str, most: int = 20) -> None:
        if most < 1:
            raise ValueError(f"most is {most}: expected 1 or more")
        self._column, self._unit, self._most = column, unit, most
        self._counts: Counter[str] = Counter()
        self._num_missing = 0

    def add(self, values: Values) -> None:
        """Count one batch. A value that is no string counts under its text."""
        import pyarrow.compute as pc

        for pair in pc.value_counts(_as_arrow(values)).to_pylist():
            if pair["values"] is None:
                self._num_missing += pair["counts"]
            else:
                self._counts[_category_label(pair["values"])] += pair["counts"]

    def counts(self) -> CategoryCounts:
        """The counts so far, for `merge` of another tally."""
        return CategoryCounts(counts=dict(sorted(self._counts.items())), num_missing=self._num_missing)

    def merge(self, other: CategoryCounts) -> None:
        """Add the counts of other values."""
        self._counts.update(other.counts)
        self._num_missing += other.num_missing

    def histogram(self) -> Histogram:
        """The histogram of all values so far."""
        ranked = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return Histogram(
            column=self._column,
            unit=self._unit,
            labels=tuple(label for label, _ in ranked[: self._most]),
            counts=tuple(num for _, num in ranked[: self._most]),
            num_missing=self._num_missing,
            num_other=sum(num for _, num in ranked[self._most :]),
        )


def number_label(value: float) -> str:
    """A number as people read it: thousands apart, no float noise."""
    return f"{value:,.12g}"


def _range_label(low: float, high: float, *, is_whole: bool) -> str:
    if is_whole and high - low == 1:
        return number_label(low)
    return f"{number_label(low)} to {number_label(high - 1 if is_whole else high)}"


def _category_label(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scaled(number: int, exponent: int) -> float:
    """`number` * 10^exponent, correctly rounded."""
    return float(number * 10**exponent) if exponent >= 0 else number / 10**-exponent


def _as_arrow(values: Values) -> pa.Array | pa.ChunkedArray:
    import pyarrow as pa

    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)


def _as_floats(values: Values) -> npt.NDArray[np.float64]:
    """The values as float64, null as NaN."""
    import numpy as np
    import pyarrow as pa

    floats = _as_arrow(values).cast(pa.float64(), safe=False)
    return np.asarray(floats.to_numpy(zero_copy_only=False) if isinstance(floats, pa.Array) else floats.to_numpy())
