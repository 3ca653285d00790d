"""Writes one Parquet file from the small tables of many shards, in row groups of a useful size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.row_sizes import BATCH_BYTES

if TYPE_CHECKING:
    from pathlib import Path

ROWS_PER_GROUP = 65_536
"""A group of this size, or of `BATCH_BYTES`: readers skip groups, and the footer has an entry for each."""
MOST_PIECES = 64
"""Tables that are held apart: one of a few rows takes as much memory as one of hundreds."""


class JoinedTable:
    """Writes tables of one schema to a Parquet file. Holds one row group in memory. Use it as a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._names = schema.names
        self._held: list[pa.Table] = []
        self._pieces: list[pa.Table] = []
        self._num_held = self._held_bytes = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows with at least the columns of the schema."""
        rows = rows.select(self._names)
        self._pieces.append(rows)
        if len(self._pieces) == MOST_PIECES:
            self._join_pieces()
        self._num_held += rows.num_rows
        self._held_bytes += rows.nbytes
        if self._num_held >= ROWS_PER_GROUP or self._held_bytes >= BATCH_BYTES:
            self._write_group()

    def _join_pieces(self) -> None:
        if self._pieces:
            self._held.append(pa.concat_tables(self._pieces).combine_chunks())
        self._pieces = []

    def _write_group(self) -> None:
        self._join_pieces()
        if self._num_held:
            self._writer.write_table(pa.concat_tables(self._held))
        self._held, self._num_held, self._held_bytes = [], 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self._write_group()
        self._writer.close()
