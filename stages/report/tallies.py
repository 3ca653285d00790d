"""The counts behind the data card and the report: of one shard, or of all shards together.

Each shard's step stores its counts with its rows, and the last step merges them. A change of what is counted, or of
the number of bars, therefore needs a new version of `emit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from core.strict_json import State
from samples.columns import COLUMNS, column
from samples.members import MEMBERS
from stages.report.histograms import CategoryCounts, CategoryTally, NumericCounts, NumericTally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stages.report.histograms import Histogram

CATEGORY_COLUMNS = (
    "edit_type", "edit_writer", "reverse_writer", "original_format", "target_pool", "split", "source_licence",
    "target_licence",
)  # fmt: skip
NO_HISTOGRAM = ("source_dhash", "latent_size_px", "synthesis_seed")
FORMAT_COLUMNS = frozenset(member.format_column for member in MEMBERS.values()) - {""}
"""Columns of which the card needs every value."""
ROWS_PER_COUNT = 8192
"""Rows that are counted at once: batches may be small, and each count of a column has a fixed cost."""


class ShardCounts(State):
    """The counts of one shard, by column."""

    numbers: dict[str, NumericCounts]
    categories: dict[str, CategoryCounts]
    formats: dict[str, tuple[str, ...]]


class Tallies:
    """Counts of the values of `columns`, as far as the card or the report needs them."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._numbers = {n: NumericTally(column=n, unit=column(n).unit) for n in columns if _is_measured(n)}
        self._categories = {n: CategoryTally(column=n, unit=column(n).unit) for n in columns if n in CATEGORY_COLUMNS}
        self._formats: dict[str, set[str]] = {n: set() for n in columns if n in FORMAT_COLUMNS}
        self._columns = [n for n in columns if n in {*self._numbers, *self._categories, *self._formats}]
        self._held: list[pa.Table] = []
        self._num_held = 0

    def add(self, rows: pa.Table) -> None:
        """Count rows that have the columns."""
        self._held.append(rows.select(self._columns))
        self._num_held += rows.num_rows
        if self._num_held >= ROWS_PER_COUNT:
            self._count()

    def _count(self) -> None:
        if not self._num_held:
            return
        rows, self._held, self._num_held = pa.concat_tables(self._held), [], 0
        for name, numbers in self._numbers.items():
            numbers.add(rows[name])
        for name, categories in self._categories.items():
            categories.add(rows[name])
        for name, found in self._formats.items():
            values = pc.list_flatten(rows[name]) if pa.types.is_list(COLUMNS[name].type) else rows[name]
            found.update(value for value in pc.unique(values).to_pylist() if value is not None)

    def counts(self) -> ShardCounts:
        """The counts so far, for `merge` of another object with the same columns."""
        self._count()
        return ShardCounts(
            numbers={name: tally.counts() for name, tally in self._numbers.items()},
            categories={name: tally.counts() for name, tally in self._categories.items()},
            formats={name: tuple(sorted(found)) for name, found in self._formats.items()},
        )

    def merge(self, shard: ShardCounts) -> None:
        """Add the counts of a shard, made with the same columns."""
        for name, numbers in shard.numbers.items():
            self._numbers[name].merge(numbers)
        for name, categories in shard.categories.items():
            self._categories[name].merge(categories)
        for name, formats in shard.formats.items():
            self._formats[name].update(formats)

    def formats(self, name: str) -> list[str]:
        """The values of a column of formats, sorted; none where the dataset has no such column."""
        self._count()
        return sorted(self._formats.get(name, ()))

    def values(self, name: str) -> dict[str, int]:
        """Rows by the value of a column of categories; none where the dataset has no such column."""
        self._count()
        return dict(self._categories[name].counts().counts) if name in self._categories else {}

    def histograms(self) -> Iterator[Histogram]:
        """A histogram of each measured column and of each column of categories, in the order of the columns."""
        self._count()
        tallies = self._numbers | self._categories
        return (tallies[name].histogram() for name in self._columns if name in tallies)


def _is_measured(name: str) -> bool:
    declared = column(name)
    is_number = pa.types.is_integer(declared.type) or pa.types.is_floating(declared.type)
    return is_number and name not in (*NO_HISTOGRAM, *CATEGORY_COLUMNS)
