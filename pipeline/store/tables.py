"""Column files: one Parquet a stage and shard, written in batches and read back aligned to the rows still alive.

Every stage keeps the order of its rows, so a file is read forward once, batch by batch: memory does not grow with
the shard. `sample_id` is the key; where an expand stands between, its `parent_id` leads back to the older rows.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import ContractError, DamagedFileError, is_transient, one_line
from samples.columns import COLUMNS, PARENT_ID, SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from pipeline.store.storage import Storage

ROW_GROUP_ROWS = 16_384
ROW_GROUP_ROWS_WITH_PIXELS = 64
"""Fixed numbers, so that the same rows give the same bytes however they were batched."""
BATCH_BYTES = 32 << 20
"""Rows in hand at a time weigh at most this and one row more: a batch, a row group, rows read ahead, rejects held."""


def row_bytes(table: pa.Table) -> NDArray[np.int64]:
    """What each row weighs: the bytes of its text, images and lists; columns of fixed width count 8."""
    total = np.full(table.num_rows, 8 * table.num_columns, np.int64)
    for chunked in table.columns if table.num_rows else ():
        total += np.concatenate([_cell_bytes(chunk) for chunk in chunked.chunks])
    return total


def _cell_bytes(cells: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_list(cells.type):
        ends = np.concatenate([[0], np.cumsum(_cell_bytes(cells.values), dtype=np.int64)])
        offsets = cells.offsets.to_numpy()
        sizes: NDArray[np.int64] = ends[offsets[1:]] - ends[offsets[:-1]]
        return sizes
    if pa.types.is_string(cells.type) or pa.types.is_binary(cells.type):
        offsets = cells.buffers()[1]
        if not len(cells) or offsets is None:
            return np.zeros(len(cells), np.int64)
        return np.diff(np.frombuffer(offsets, np.int32, len(cells) + 1, 4 * cells.offset)).astype(np.int64)
    return np.full(len(cells), 8, np.int64)


def num_fitting(sizes: NDArray[np.int64], room: float) -> int:
    """How many of the first rows fit into `room` together; one at least where there is any."""
    return min(len(sizes), max(1, int(np.searchsorted(np.cumsum(sizes), room, side="right"))))


class ColumnWriter:
    """Writes batches to one Parquet file: pixels as they are, everything else compressed.

    A row group ends after a fixed number of rows, or with the row that brings it to `BATCH_BYTES`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        light = [name for name in schema.names if not (name in COLUMNS and COLUMNS[name].bulk)]
        paths = {n: (f"{n}.list.element" if pa.types.is_list(schema.field(n).type) else n) for n in schema.names}
        self.schema = schema
        self.rows = 0
        self._rows_per_group = ROW_GROUP_ROWS if len(light) == len(schema) else ROW_GROUP_ROWS_WITH_PIXELS
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
            num = min(len(ends), int(np.searchsorted(ends, BATCH_BYTES)) + 1)
            self._held.append(rows.slice(start, num))
            self._num_held, self._held_bytes, start = self._num_held + num, int(ends[num - 1]), start + num
            if self._num_held == self._rows_per_group or self._held_bytes >= BATCH_BYTES:
                self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._num_held, self._held_bytes = [], 0, 0

    def close(self) -> None:
        """Write what is held and finish the file."""
        if self._num_held:
            self._write_group()
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
        if is_transient(error) or getattr(error, "errno", None) is not None:
            raise  # of the machine or the network
        raise DamagedFileError(
            f"{rel} cannot be read as Parquet ({one_line(error, 200)}); remove it and build again"
        ) from None


def read_light(storage: Storage, rel: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns of a whole file, by default all without pixels. Raises `DamagedFileError`."""
    with storage.open(rel) as handle, naming(rel):
        file = open_table(handle)
        return checked(file.read(columns=known_columns(file, columns), use_threads=False))


def read_batches(handle: IO[bytes], columns: Sequence[str] | None, rows_per_batch: int, rel: str) -> Iterator[pa.Table]:
    """The same of the open Parquet file `rel`, forward, in batches that end where a row group does."""
    with naming(rel):
        file = open_table(handle)
        known = known_columns(file, columns)
    for group in range(file.num_row_groups):
        with naming(rel):
            batches = file.iter_batches(rows_per_batch, row_groups=[group], columns=known, use_threads=False)
        while True:
            with naming(rel):
                batch = next(batches, None)
                if batch is None:
                    break
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


def open_table(handle: IO[bytes]) -> pq.ParquetFile:
    """An open Parquet file that is read in the calling thread only, where its reads say `use_threads=False` too.

    `pre_buffer`, on by default, and `pq.read_table` hand a Python file to threads of Arrow's own; one that still holds
    it when the interpreter ends aborts the process.
    """
    return pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True)


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
        self._sizes: list[int] = []
        self._at = 0

    def take(self, ids: Sequence[str], room: float = float("inf")) -> pa.Table:
        """The cursor's columns for `ids`, in that order: up to and with the row that fills `room` bytes."""
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


class Ahead:
    """Rows of a cursor for a list of ids, read ahead up to `BATCH_BYTES`, so that several cursors can go in step."""

    def __init__(self, cursor: Cursor, ids: Sequence[str]) -> None:
        self._cursor, self._ids, self._next = cursor, ids, 0
        self._held: pa.Table | None = None
        self._sizes = np.empty(0, np.int64)

    def sizes(self, num_rows: int) -> NDArray[np.int64]:
        """What the next rows weigh: of `num_rows`, or of as many as fit, one at least."""
        missing, room = num_rows - len(self._sizes), BATCH_BYTES - int(self._sizes.sum())
        if missing > 0 and room > 0:
            more = self._cursor.take(self._ids[self._next : self._next + missing], room)
            self._next += more.num_rows
            self._held = more if self._held is None else pa.concat_tables([self._held, more])
            self._sizes = np.concatenate([self._sizes, row_bytes(more)])
        return self._sizes[:num_rows]

    def take(self, num_rows: int) -> pa.Table:
        """The next rows, which `sizes` was asked for before."""
        assert self._held is not None
        taken = self._held.slice(0, num_rows)
        self._held = self._held.slice(num_rows) if num_rows < self._held.num_rows else None
        self._sizes = self._sizes[num_rows:]
        return taken


def _pick(table: pa.Table, rows: list[int]) -> pa.Table:
    if rows[-1] - rows[0] + 1 == len(rows) and len(set(rows)) == len(rows):
        return table.slice(rows[0], len(rows))
    return table.take(pa.array(rows, pa.int64()))


def arrow_table(columns: Sequence[str]) -> pa.Table:
    """An empty table with the declared types of `columns`."""
    return pa.schema([(name, column(name).type) for name in columns]).empty_table()
