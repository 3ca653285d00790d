"""Writes a column file: one Parquet file of one stage and shard, whose bytes depend on its rows alone.

Light columns and bulk columns (images, vectors) of a stage are in files of their own: light ones are read as a whole,
and of bulk ones some stages read single rows.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.row_sizes import BATCH_BYTES, row_bytes
from samples.columns import COLUMNS, PARENT_ID, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROW_GROUP_ROWS = 16_384
BULK_GROUP_ROWS, BULK_GROUP_BYTES = 64, 1 << 19
"""A row group is the least that is read: of bulk columns, a few images. The same rows always give the same bytes."""


class ColumnWriter:
    """Writes batches to one Parquet file: bulk columns uncompressed, all others compressed.

    A row group ends after a fixed number of rows, or with the row that fills it to `BATCH_BYTES`. With bulk columns it
    ends sooner, after `BULK_GROUP_ROWS` rows or `BULK_GROUP_BYTES`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        light = [name for name in schema.names if not (name in COLUMNS and COLUMNS[name].bulk)]
        paths = {n: (f"{n}.list.element" if pa.types.is_list(schema.field(n).type) else n) for n in schema.names}
        self.schema = schema
        self.rows = 0
        is_light = len(light) == len(schema)
        self._bytes_per_group = BATCH_BYTES if is_light else BULK_GROUP_BYTES
        self._rows_per_group = ROW_GROUP_ROWS if is_light else BULK_GROUP_ROWS
        self._held: list[pa.Table] = []
        self._num_held = self._held_bytes = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression={paths[n]: "zstd" if n in light else "none" for n in schema.names},
            use_dictionary=[paths[n] for n in light if n not in (SAMPLE_ID, PARENT_ID)],
            write_statistics=False,
            write_page_checksum=True,
        )

    def write(self, rows: pa.Table) -> None:
        """Add rows with at least the schema's columns."""
        rows = rows.select(self.schema.names)
        if rows.schema != self.schema:
            rows = rows.cast(self.schema)
        self.rows += rows.num_rows
        sizes, start = row_bytes(rows), 0
        while start < rows.num_rows:
            ends = self._held_bytes + np.cumsum(sizes[start : start + self._rows_per_group - self._num_held])
            num = min(len(ends), int(np.searchsorted(ends, self._bytes_per_group)) + 1)
            self._held.append(rows.slice(start, num))
            self._num_held, self._held_bytes, start = self._num_held + num, int(ends[num - 1]), start + num
            if self._num_held == self._rows_per_group or self._held_bytes >= self._bytes_per_group:
                self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._num_held, self._held_bytes = [], 0, 0

    def add_metadata(self, texts: Mapping[str, str]) -> None:
        """Add named texts to the end of the file. Call this before `close`."""
        self._writer.add_key_value_metadata(dict(texts))

    def close(self) -> None:
        """Write what is held and finish the file."""
        if self._num_held:
            self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """Close a file that will not be used. Errors of the disk are ignored."""
        with contextlib.suppress(OSError):
            self._writer.close()
