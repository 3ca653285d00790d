"""Reads column files forward, aligned to the rows that are left.

Every stage keeps the order of its rows, so each file is read once, batch by batch: memory does not grow with the shard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from core.errors import ContractError
from pipeline.store.row_sizes import BATCH_BYTES, row_bytes
from pipeline.store.tables import arrow_table
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


class RowCursor(Protocol):
    """Reads rows forward."""

    def take(self, ids: Sequence[str], room: float = float("inf")) -> pa.Table:
        """The cursor's columns for `ids`, in that order, up to and including the row that fills `room` bytes."""


class AlignedCursor:
    """Reads tables forward whose rows are exactly those that are asked for, so that their ids need not be read."""

    def __init__(self, batches: Iterable[pa.Table], columns: Sequence[str], origin: str) -> None:
        self._batches, self._columns, self._origin = iter(batches), list(columns), origin
        self._table = arrow_table(columns)
        self._sizes = np.empty(0, np.int64)

    def take(self, ids: Sequence[str], room: float = float("inf")) -> pa.Table:
        """The next rows, one for each of `ids`, up to and including the row that fills `room` bytes."""
        pieces: list[pa.Table] = []
        left = len(ids)
        while left and room > 0:
            if not len(self._sizes):
                self._advance(ids[len(ids) - left])
                continue
            num = int(np.searchsorted(np.cumsum(self._sizes[:left]), room)) + 1
            num = min(num, left, len(self._sizes))
            pieces.append(self._table.slice(0, num))
            room -= int(self._sizes[:num].sum())
            self._table, self._sizes, left = self._table.slice(num), self._sizes[num:], left - num
        return pa.concat_tables(pieces) if pieces else arrow_table(self._columns)

    def _advance(self, wanted: str) -> None:
        table = next(self._batches, None)
        if table is None:
            raise ContractError(f"{self._origin}: row {wanted!r} is missing or out of order")
        self._table = table.select(self._columns)
        self._sizes = row_bytes(self._table)


class Cursor:
    """Reads tables forward and returns the rows of given ids, which must be in the order of the tables.

    An id may be repeated directly (children of one parent). An id that is missing raises `ContractError`.
    """

    def __init__(self, batches: Iterable[pa.Table], columns: Sequence[str], origin: str) -> None:
        self._batches = iter(batches)
        self._columns = list(columns)
        self._origin = origin
        self._table: pa.Table | None = None
        self._ids: list[str] = []
        self._sizes: list[int] = []
        self._at = 0

    def take(self, ids: Sequence[str], room: float = float("inf")) -> pa.Table:
        """The cursor's columns for `ids`, in that order, up to and including the row that fills `room` bytes."""
        pieces: list[pa.Table] = []
        done = 0
        while done < len(ids) and room > 0:
            rows: list[int] = []
            while done < len(ids) and self._at < len(self._ids) and room > 0:
                if self._ids[self._at] == ids[done]:
                    rows.append(self._at)
                    room -= self._sizes[self._at]
                    done += 1
                else:
                    self._at += 1
            if rows and self._table is not None:
                pieces.append(_pick(self._table, rows))
            if done < len(ids) and room > 0:
                self._advance(ids[done])
        return pa.concat_tables(pieces) if pieces else arrow_table(self._columns)

    def _advance(self, wanted: str) -> None:
        table = next(self._batches, None)
        if table is None:
            raise ContractError(f"{self._origin}: row {wanted!r} is missing or out of order")
        self._ids = table[SAMPLE_ID].to_pylist()
        self._table = table.select(self._columns)
        self._sizes = row_bytes(self._table).tolist()
        self._at = 0


class ReadAhead:
    """Rows of a cursor for a list of ids, read ahead up to `BATCH_BYTES`, so that several cursors stay aligned."""

    def __init__(self, cursor: RowCursor, ids: Sequence[str]) -> None:
        self._cursor, self._ids, self._next = cursor, ids, 0
        self._held: pa.Table | None = None
        self._sizes = np.empty(0, np.int64)

    def sizes(self, num_rows: int) -> NDArray[np.int64]:
        """Bytes of the next rows: of `num_rows`, or of as many as fit, at least one."""
        missing, room = num_rows - len(self._sizes), BATCH_BYTES - int(self._sizes.sum())
        if missing > 0 and room > 0:
            more = self._cursor.take(self._ids[self._next : self._next + missing], room)
            self._next += more.num_rows
            self._held = more if self._held is None else pa.concat_tables([self._held, more])
            self._sizes = np.concatenate([self._sizes, row_bytes(more)])
        return self._sizes[:num_rows]

    def take(self, num_rows: int) -> pa.Table:
        """The next rows. Call `sizes` first, which reads them."""
        assert self._held is not None
        taken = self._held.slice(0, num_rows)
        self._held = self._held.slice(num_rows) if num_rows < self._held.num_rows else None
        self._sizes = self._sizes[num_rows:]
        return taken


def _pick(table: pa.Table, rows: list[int]) -> pa.Table:
    if rows[-1] - rows[0] + 1 == len(rows) and len(set(rows)) == len(rows):
        return table.slice(rows[0], len(rows))
    return table.take(pa.array(rows, pa.int64()))
