"""Reads column files: Parquet files of one stage and shard, whose key is `sample_id`.

Every file is checked while it is read; a damaged one raises `DamagedFileError` with its name.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DamagedFileError, is_transient, one_line
from samples.columns import COLUMNS, SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from pipeline.store.storage import Storage


BULK_SUFFIX = ".bulk.parquet"
"""End of the name of the file of a stage and shard that has its bulk columns. The other file ends in `.parquet`."""
ROWS_PER_READ = 65_536
"""Rows of light columns that are read at a time."""


@contextlib.contextmanager
def named_damage(rel: str) -> Iterator[None]:
    """Turn pyarrow's errors about a damaged file within the block into `DamagedFileError` with the file's name."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, OSError) as error:
        if is_transient(error) or getattr(error, "errno", None) is not None:
            raise  # of the machine or the network
        raise DamagedFileError(
            f"{rel} cannot be read as Parquet ({one_line(error, 200)}); remove it and build again"
        ) from None


def read_light(storage: Storage, rel: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns of a whole file, by default all but images. Raises `DamagedFileError`."""
    with storage.open_whole(rel) as handle, named_damage(rel):
        file = open_table(handle)
        return checked(file.read(columns=known_columns(file, columns), use_threads=False))


def read_batches(handle: IO[bytes], columns: Sequence[str] | None, rows_per_batch: int, rel: str) -> Iterator[pa.Table]:
    """Batches of the open Parquet file `rel`, in order. A batch ends where a row group does."""
    file, known = open_columns(handle, columns, rel)
    yield from batches_of(file, known, rows_per_batch, rel)


def open_columns(handle: IO[bytes], columns: Sequence[str] | None, rel: str) -> tuple[pq.ParquetFile, list[str]]:
    """The open Parquet file `rel` and the columns to read, which it has. Raises `DamagedFileError`."""
    with named_damage(rel):
        file = open_table(handle)
        return file, known_columns(file, columns)


def batches_of(file: pq.ParquetFile, known: list[str], rows_per_batch: int, rel: str) -> Iterator[pa.Table]:
    """Batches of these columns, in order. A batch ends where a row group does."""
    for group in range(file.num_row_groups):
        with named_damage(rel):
            batches = file.iter_batches(rows_per_batch, row_groups=[group], columns=known, use_threads=False)
        while True:
            with named_damage(rel):
                batch = next(batches, None)
                if batch is None:
                    break
                table = checked(pa.Table.from_batches([batch]))
            yield table


def checked(table: pa.Table) -> pa.Table:
    """The same table. Raises `ArrowInvalid` where offsets or text do not fit their types."""
    table.validate(full=True)
    return table


def known_columns(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
    """The columns to read, by default all but images. Raises `ArrowInvalid` for a missing one or a wrong type."""
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
    """An open Parquet file, read in the calling thread only. Pass `use_threads=False` to its reads too.

    `pre_buffer`, on by default, and `pq.read_table` pass a Python file to threads of Arrow; one that still holds the
    file when the interpreter ends aborts the process.
    """
    return pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True)


def arrow_table(columns: Sequence[str]) -> pa.Table:
    """An empty table with the declared types of `columns`."""
    return pa.schema([(name, column(name).type) for name in columns]).empty_table()
