"""Column files: one Parquet a stage and shard, written in batches and read back aligned to the rows still alive.

Every stage keeps the order of its rows, so a file is read forward once, batch by batch: memory does not grow with
the shard. `sample_id` is the key; where an expand stands between, its `parent_id` leads back to the older rows.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ContractError, DamagedFileError, one_line
from pipeline.schema import COLUMNS, PARENT_ID, SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from pipeline.storage import Storage

ROW_GROUP_ROWS = 16_384
ROW_GROUP_ROWS_WITH_PIXELS = 64
"""Fixed numbers, so that the same rows give the same bytes however they were batched."""


class ColumnWriter:
    """Writes batches to one Parquet file: pixels as they are, everything else compressed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        light = [name for name in schema.names if not (name in COLUMNS and COLUMNS[name].bulk)]
        paths = {n: (f"{n}.list.element" if pa.types.is_list(schema.field(n).type) else n) for n in schema.names}
        self.schema = schema
        self.rows = 0
        self._rows_per_group = ROW_GROUP_ROWS if len(light) == len(schema) else ROW_GROUP_ROWS_WITH_PIXELS
        self._held: list[pa.Table] = []
        self._num_held = 0
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
        self._held.append(rows)
        self._num_held += rows.num_rows
        while self._num_held >= self._rows_per_group:
            self._write_group(self._rows_per_group)

    def _write_group(self, rows: int) -> None:
        held = pa.concat_tables(self._held)
        self._writer.write_table(held.slice(0, rows).combine_chunks())
        self._held, self._num_held = [held.slice(rows)], held.num_rows - rows

    def close(self) -> None:
        """Write what is held and finish the file."""
        if self._num_held:
            self._write_group(self._num_held)
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in; a full disk does not matter any more."""
        with contextlib.suppress(OSError):
            self._writer.close()


@contextlib.contextmanager
def naming(rel: str) -> Iterator[None]:
    """Turn what pyarrow says of a damaged file within the block into `DamagedFileError` with the file's name."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, OSError) as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise  # of the machine
        raise DamagedFileError(
            f"{rel} cannot be read as Parquet ({one_line(error, 200)}); remove it and build again"
        ) from None


def read_light(storage: Storage, rel: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns of a whole file, by default all without pixels. Raises `DamagedFileError`."""
    with storage.open(rel) as handle, naming(rel):
        file = pq.ParquetFile(handle, page_checksum_verification=True)
        return checked(file.read(columns=known_columns(file, columns), use_threads=False))


def read_batches(handle: IO[bytes], columns: Sequence[str] | None, rows_per_batch: int, rel: str) -> Iterator[pa.Table]:
    """The same of the open Parquet file `rel`, forward, in batches."""
    with naming(rel):
        file = pq.ParquetFile(handle, page_checksum_verification=True)
        batches = file.iter_batches(batch_size=rows_per_batch, columns=known_columns(file, columns), use_threads=False)
    while True:
        with naming(rel):
            batch = next(batches, None)
            if batch is None:
                return
            table = checked(pa.Table.from_batches([batch]))
        yield table


def checked(table: pa.Table) -> pa.Table:
    """The same table. Raises `ArrowInvalid` where offsets or text are not what their types promise."""
    table.validate(full=True)
    return table


def known_columns(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
    """The columns to read, by default all without pixels. Raises `ArrowInvalid` where one lacks or has another type."""
    there = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
    if columns is None:
        columns = [name for name in there if not (name in COLUMNS and COLUMNS[name].bulk)]
    for name in (SAMPLE_ID, *columns):
        if name not in there:
            raise pa.ArrowInvalid(f"no column {name!r}")
        expected = COLUMNS[name].type if name in COLUMNS else pa.string()  # the others are those of rejects
        if there[name] != expected:
            raise pa.ArrowInvalid(f"column {name!r} is of type {there[name]}, expected {expected}")
    return list(columns)


class Cursor:
    """Reads tables forward and hands out the rows of given ids, which must come in the tables' order.

    An id may be asked for several times in a row (children of one parent); an id that never comes raises
    `ContractError`.
    """

    def __init__(self, batches: Iterable[pa.Table], columns: Sequence[str], origin: str) -> None:
        self._batches = iter(batches)
        self._columns = list(columns)
        self._origin = origin
        self._table: pa.Table | None = None
        self._ids: list[str] = []
        self._at = 0

    def take(self, ids: Sequence[str]) -> pa.Table:
        """The cursor's columns for `ids`, in that order."""
        pieces: list[pa.Table] = []
        done = 0
        while done < len(ids):
            rows: list[int] = []
            while done < len(ids) and self._at < len(self._ids):
                if self._ids[self._at] == ids[done]:
                    rows.append(self._at)
                    done += 1
                else:
                    self._at += 1
            if rows and self._table is not None:
                pieces.append(_pick(self._table, rows))
            if done < len(ids):
                self._advance(ids[done])
        return pa.concat_tables(pieces) if pieces else arrow_table(self._columns)

    def _advance(self, wanted: str) -> None:
        table = next(self._batches, None)
        if table is None:
            raise ContractError(f"{self._origin}: row {wanted!r} is missing or out of order")
        self._ids = table[SAMPLE_ID].to_pylist()
        self._table = table.select(self._columns)
        self._at = 0


def _pick(table: pa.Table, rows: list[int]) -> pa.Table:
    if rows[-1] - rows[0] + 1 == len(rows) and len(set(rows)) == len(rows):
        return table.slice(rows[0], len(rows))
    return table.take(pa.array(rows, pa.int64()))


def arrow_table(columns: Sequence[str]) -> pa.Table:
    """An empty table with the declared types of `columns`."""
    return pa.schema([(name, column(name).type) for name in columns]).empty_table()
