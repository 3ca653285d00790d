"""Read rows of a Parquet file that may be hostile, a span at a time, forwards, in bounded memory.

The limits are those of `parquet_pages` and `arrow_values`, next to this module. Arrow reads in the calling thread only:
a thread of its own pool that holds a Python file outlives the interpreter now and then, which aborts the process.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from core.errors import ShardFailed, is_transient
from stages.inputs.arrow_values import rows_of
from stages.inputs.image_values import NO_IMAGES, Images, image_reader
from stages.inputs.parquet_pages import (
    MAX_IMAGE_PAGES_BYTES,
    MAX_ITEMS_PER_GROUP,
    GroupCost,
    PageError,
    check_file,
    check_footer,
    pages_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BUFFER_BYTES = 1 << 20
"""Read of a column at a time; without it a whole row group is held, which LAION made of a million rows and more."""
MAX_EXTRA_BYTES_PER_ROW = 16 << 10
"""A column of more bytes a row, on average, is not read unless a setting names it: it holds pixels or the like."""
DIFFERENCES = frozenset({"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"})
MAX_ERROR_CHARS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class _Leaf:
    """A leaf column of the file: its top-level column, and the bytes of a value (0 for text)."""

    column: str
    path: str
    is_list: bool
    is_shared: bool
    width: int


class TableReader:
    """Rows of one Parquet file. Going forwards from where it is, it reads nothing twice.

    Faults of the machine or the network are not caught, so that the engine tries again; after any exception the reader
    cannot be used again. `needed` names the columns of a schema that are read whatever their size; it may raise
    `ShardFailed` for a column that cannot serve. Columns of `images` come as `ImageValue`.
    """

    def __init__(
        self, url: str, needed: Callable[[pa.Schema], Sequence[str]] = lambda _: (), images: Images = NO_IMAGES
    ) -> None:
        self.url, self._images = url, images
        fs, path = url_to_fs(url)
        self._handle: IO[bytes] = fs.open(path, "rb")
        with contextlib.ExitStack() as failed, self._faults("not a Parquet file that can be read"):
            failed.callback(self.close)
            self._file = _open(self._handle, images)
            self.schema: pa.Schema = self._file.schema_arrow
            """Columns; texts have the type of a dictionary of them."""
            self._leaves = _leaves(self._file, images)
            self._needed = set(needed(self.schema))
            failed.pop_all()
        self._group_starts = list(itertools.accumulate(_group_sizes(self._file.metadata), initial=0))
        self.num_rows = self._group_starts[-1]
        self.skipped = self._too_large()
        """Columns that are too large to be read without being named."""
        self._num_read, self._num_lost = 0, Counter[str]()
        self._names = [name for name in self.schema.names if name not in self.skipped]
        self._go_to(0)

    def leave_out_others(self) -> None:
        """Read the needed columns only."""
        self._names = [name for name in self.schema.names if name in self._needed]

    @contextlib.contextmanager
    def _faults(self, failed: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            if is_transient(error):
                raise
            raise ShardFailed(f"{self.url}: {failed} ({' '.join(str(error).split())[:MAX_ERROR_CHARS]})") from None

    def _too_large(self) -> list[str]:
        """Columns that no setting names and whose values are too large, or too many, to be metadata of a row."""
        meta = self._file.metadata
        found = set()
        for group, (number, leaf) in itertools.product(range(meta.num_row_groups), enumerate(self._leaves)):
            if leaf.column not in self._needed and leaf.column not in found:
                chunk = meta.row_group(group).column(number)
                rows = max(1, meta.row_group(group).num_rows)
                is_large = chunk.total_uncompressed_size > MAX_EXTRA_BYTES_PER_ROW * (rows + 64)
                if is_large or (leaf.is_list and chunk.num_values > MAX_ITEMS_PER_GROUP):
                    found.add(leaf.column)
        return [name for name in self.schema.names if name in found]

    def _go_to(self, group: int) -> None:
        self._group = group
        self._at = self._group_starts[group]
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: pa.RecordBatch | None = None

    def _next_batch(self) -> pa.RecordBatch | None:
        """The next rows, or None behind the last. The pages of a row group are judged before any is read."""
        while (batch := next(self._batches, None)) is None:
            if self._group >= len(self._group_starts) - 1:
                return None
            cost = self._cost(self._group)
            self._batches = self._file.iter_batches(
                cost.rows_at_a_time, row_groups=[self._group], columns=self._names, use_threads=False
            )
            self._group += 1
        return batch

    def _cost(self, group: int) -> GroupCost:
        cost = GroupCost(max_pages_bytes=MAX_IMAGE_PAGES_BYTES) if self._images.names else GroupCost()
        names = set(self._names)
        for number, leaf in enumerate(self._leaves):
            if leaf.column in names:
                chunk = self._file.metadata.row_group(group).column(number)
                start, first = chunk.data_page_offset, chunk.dictionary_page_offset
                start = first if first and 0 < first < start else start
                try:
                    pages = pages_of(self._handle, start, start + chunk.total_compressed_size)
                    cost.add(pages, width=leaf.width, is_list=leaf.is_list, is_shared=leaf.is_shared)
                except PageError as error:
                    raise PageError(f"column {leaf.path[:80]!r}: {error}") from None
        return cost

    def read(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Rows `start` to `stop`. Raises `ShardFailed` when the file is damaged or has fewer."""
        group = bisect.bisect_right(self._group_starts, start) - 1
        if not self._group_starts[group] <= self._at <= start:
            self._go_to(min(group, len(self._group_starts) - 1))
        while self._at < stop:
            with self._faults(f"rows {start} to {stop} cannot be read"):
                batch = self._rest if self._rest is not None else self._next_batch()
            if batch is None:
                raise ShardFailed(
                    f"{self.url}: has no rows {self._at} to {stop}: the file was changed after the plan; "
                    "run the same command again"
                )
            skipped = min(batch.num_rows, max(0, start - self._at))
            taken = min(batch.num_rows - skipped, stop - self._at - skipped)
            self._at += skipped + taken
            self._rest = batch.slice(skipped + taken) if skipped + taken < batch.num_rows else None
            yield from self._counted(batch.slice(skipped, taken))

    def _counted(self, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        """The rows of a batch. Values that are there and were not read are counted."""
        num_absent: Counter[str] = Counter()
        images = [name for name in batch.schema.names if name in self._images.names]
        image_at = {name: image_reader(batch.column(name), self._images.max_bytes) for name in images}
        num_rows, batch = batch.num_rows, batch.drop_columns(images)
        rows = rows_of(batch) if batch.num_columns else iter([{} for _ in range(num_rows)])
        for number, row in enumerate(rows):
            num_absent.update([name for name, value in row.items() if value is None])
            yield {**row, **{name: read(number) for name, read in image_at.items()}}
        self._num_read += num_rows
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if not pa.types.is_floating(field.type):  # JSON has no infinity
                self._num_lost[field.name] += max(0, num_absent[field.name] - column.null_count)

    def take_notes(self) -> Counter[str]:
        """Notes on the columns and values that the rows since the last call have lost."""
        notes = Counter({f"column {name!r} too large for metadata, not read": self._num_read for name in self.skipped})
        lost = {name: count for name, count in self._num_lost.items() if count}
        notes.update({f"values of column {name!r} that are no text or too long, left out": lost[name] for name in lost})
        self._num_read, self._num_lost = 0, Counter()
        return notes

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


@contextlib.contextmanager
def table_reader(
    url: str,
    readers: dict[str, TableReader],
    needed: Callable[[pa.Schema], Sequence[str]],
    images: Images = NO_IMAGES,
) -> Iterator[TableReader]:
    """The table's reader, kept in `readers` for the next call. It is closed and removed on any error."""
    reader = readers.pop(url, None)
    for other in readers.values():
        other.close()
    readers.clear()
    reader = reader or TableReader(url, needed, images)
    with contextlib.ExitStack() as failed:
        failed.callback(reader.close)
        yield reader
        failed.pop_all()
    readers[url] = reader


def _open(handle: IO[bytes], images: Images) -> pq.ParquetFile:
    """The file with its footer read, texts as dictionaries. Raises `PageError` beyond the limits on a file."""
    size = check_footer(handle)
    options = {"pre_buffer": False, "buffer_size": BUFFER_BYTES}
    file = pq.ParquetFile(handle, **options)
    num_columns = len(file.schema)
    check_file(size, num_columns, _group_sizes(file.metadata))
    shared = [file.schema.column(number).path for number in range(num_columns) if _is_shared(file, number, images)]
    return pq.ParquetFile(handle, metadata=file.metadata, read_dictionary=shared, **options)


def _group_sizes(metadata: pq.FileMetaData) -> list[int]:
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def _is_shared(file: pq.ParquetFile, number: int, images: Images) -> bool:
    """True for a leaf of texts that Arrow reads as a dictionary. Texts coded as differences are not, nor images."""
    if file.schema.column(number).path.partition(".")[0] in images.names:  # a dictionary of them is held thrice
        return False
    groups = (file.metadata.row_group(group).column(number) for group in range(file.metadata.num_row_groups))
    return _is_text(file.schema.column(number)) and not any(DIFFERENCES.intersection(g.encodings) for g in groups)


def _is_text(column: pq.ColumnSchema) -> bool:
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type in (
        "STRING",
        "NONE",
        "JSON",
        "ENUM",
        "BSON",
    )


def _leaves(file: pq.ParquetFile, images: Images) -> list[_Leaf]:
    """Each leaf of the schema."""
    tops = [field.name for field in file.schema_arrow for _ in range(_num_leaves(field.type))]
    leaves = [file.schema.column(number) for number in range(len(file.schema))]
    return [
        _Leaf(
            column=top, path=leaf.path, is_list=leaf.max_repetition_level > 0,
            is_shared=_is_shared(file, number, images), width=0 if _is_text(leaf) else max(16, leaf.length),
        )
        for number, (top, leaf) in enumerate(zip(tops, leaves, strict=True))
    ]  # fmt: skip


def _num_leaves(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _num_leaves(kind.storage_type)
    return sum(_num_leaves(kind.field(n).type) for n in range(kind.num_fields)) if kind.num_fields else 1
