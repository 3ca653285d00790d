"""Tables of URLs in Parquet: cut into spans of rows, read a span at a time, judged row by row before any download."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import math
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline.errors import PlanError, ShardFailed, is_transient
from stages._download_status import LaionReject, UrlStatus, bounded, without_credentials
from stages._input_rows import _plain as plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stages.read_laion import ReadLaion

ROWS_AT_A_TIME = 4096
BUFFER_BYTES = 1 << 20
"""Read of a column at a time; without it a whole row group is held, which LAION made of a million rows and more."""


def count_rows(url: str, options: ReadLaion) -> int:
    """Rows of a Parquet file, by its footer. Raises `PlanError` when a column that the settings name is not there."""
    fs, path = url_to_fs(url)
    with fs.open(path, "rb") as handle:
        try:
            file = pq.ParquetFile(handle)
        except (pa.ArrowException, OSError) as error:
            raise PlanError(f"{url}: not a Parquet file ({bounded(str(error))})") from None
        missing = missing_columns(file.schema_arrow.names, options)
        if missing:
            raise PlanError(f"{url}: {missing}")
        return int(file.metadata.num_rows)


def missing_columns(names: Sequence[str], options: ReadLaion) -> str:
    """What is wrong with a table of these columns, or nothing."""
    shape = options.max_aspect_ratio is not None
    needed = {
        "url_column": (options.url_column, True),
        "caption_column": (options.caption_column, options.require_caption),
        "similarity_column": (options.similarity_column, options.min_similarity is not None),
        "punsafe_column": (options.punsafe_column, options.max_punsafe is not None),
        "pwatermark_column": (options.pwatermark_column, options.max_pwatermark is not None),
        "width_column": (options.width_column, options.min_width_px is not None or shape),
        "height_column": (options.height_column, options.min_height_px is not None or shape),
    }  # fmt: skip
    lacking = [
        f"{setting} = {name!r}" for setting, (name, is_needed) in needed.items() if is_needed and name not in names
    ]
    return f"no column for {', '.join(lacking)}; it has {', '.join(names)[:200]}" if lacking else ""


class TableReader:
    """Rows of one Parquet file. Going forwards from where it stands, it reads nothing twice.

    Faults of the machine or the network pass as they are, for the engine to try again; after any exception the reader
    is of no use any more.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        fs, path = url_to_fs(url)
        self._handle: IO[bytes] = fs.open(path, "rb")
        try:
            self._file = pq.ParquetFile(self._handle, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            self.close()
            if is_transient(error):
                raise
            raise ShardFailed(f"{url}: not a Parquet file ({bounded(str(error))})") from None
        meta = self._file.metadata
        sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self._group_starts = list(itertools.accumulate(sizes, initial=0))
        self.names: list[str] = self._file.schema_arrow.names
        self._go_to(0)

    def _go_to(self, group: int) -> None:
        groups = list(range(group, len(self._group_starts) - 1))
        self._batches: Iterator[pa.RecordBatch] = self._file.iter_batches(ROWS_AT_A_TIME, row_groups=groups)
        self._at = self._group_starts[group]
        self._rest: pa.RecordBatch | None = None

    def read(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Rows `start` to `stop`. Raises `ShardFailed` when the file is damaged or has fewer."""
        group = bisect.bisect_right(self._group_starts, start) - 1
        if not self._group_starts[group] <= self._at <= start:
            self._go_to(min(group, len(self._group_starts) - 1))
        rows: list[dict[str, Any]] = []
        try:
            while self._at < stop:
                batch = self._rest if self._rest is not None else next(self._batches)
                skipped = min(batch.num_rows, max(0, start - self._at))
                taken = min(batch.num_rows - skipped, stop - self._at - skipped)
                rows += _to_rows(batch.slice(skipped, taken))
                self._at += skipped + taken
                self._rest = batch.slice(skipped + taken) if skipped + taken < batch.num_rows else None
        except StopIteration:
            raise ShardFailed(f"{self.url}: has no rows {self._at} to {stop}: it is not what it was") from None
        except (pa.ArrowException, OSError) as error:
            if is_transient(error):
                raise
            raise ShardFailed(f"{self.url}: rows {start} to {stop} cannot be read ({bounded(str(error))})") from None
        return rows

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


@contextlib.contextmanager
def table_reader(url: str, readers: dict[str, TableReader]) -> Iterator[TableReader]:
    """The table's reader, left in `readers` for the next who asks, alone; closed and forgotten when anything fails."""
    reader = readers.pop(url, None)
    for other in readers.values():
        other.close()
    readers.clear()
    reader = reader or TableReader(url)
    with contextlib.ExitStack() as failed:
        failed.callback(reader.close)
        yield reader
        failed.pop_all()
    readers[url] = reader


def _to_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    if not batch.num_rows:
        return []
    columns = [_values(column) for column in batch.columns]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """The column's values; text that is not UTF-8 with marks for what it is not, None for what Python cannot hold."""
    try:
        values: list[Any] = column.to_pylist()
    except ValueError:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            raw = column.cast(pa.large_binary()).to_pylist()
            return [None if v is None else v.decode("utf-8", "replace") for v in raw]
        try:
            values = column.cast(pa.string()).to_pylist()
        except pa.ArrowException:
            return [None] * len(column)
    return values


def to_status(number: int, row: dict[str, Any], options: ReadLaion) -> UrlStatus:
    """The row as one URL to download, or ended already by what the table says of it."""
    url, caption = row.pop(options.url_column, None), row.pop(options.caption_column, None)
    caption = caption if isinstance(caption, str) else None
    made = UrlStatus(
        key=f"{number:09d}",
        url=without_credentials(url) if isinstance(url, str) else "",
        caption=caption,
        metadata=json.dumps(plain(row), ensure_ascii=False),
    )
    reason, made.error = _judged(row, caption, options) or (None, "")
    made.status = reason.value if reason else ""
    return made


def _judged(row: dict[str, Any], caption: str | None, options: ReadLaion) -> tuple[LaionReject, str] | None:
    """Why the row is not downloaded; None when it is."""
    if options.require_caption and caption is None:
        return LaionReject.MISSING_CAPTION, ""
    if options.require_caption and caption is not None and not caption.strip():
        return LaionReject.EMPTY_CAPTION, ""
    return _out_of_range(row, options) or _out_of_shape(row, options)


def _out_of_range(row: dict[str, Any], options: ReadLaion) -> tuple[LaionReject, str] | None:
    for reason, column, least, most in (
        (LaionReject.FILTERED_SIMILARITY, options.similarity_column, options.min_similarity, None),
        (LaionReject.FILTERED_PUNSAFE, options.punsafe_column, None, options.max_punsafe),
        (LaionReject.FILTERED_PWATERMARK, options.pwatermark_column, None, options.max_pwatermark),
        (LaionReject.FILTERED_SIZE, options.width_column, options.min_width_px, None),
        (LaionReject.FILTERED_SIZE, options.height_column, options.min_height_px, None),
    ):
        if least is None and most is None:
            continue
        value = _number(row.get(column))
        if value is None:
            return reason, f"no number in column {column!r}"
        if least is not None and value < least:
            return reason, f"{column} {value:g}, less than {least:g}"
        if most is not None and value > most:
            return reason, f"{column} {value:g}, more than {most:g}"
    return None


def _out_of_shape(row: dict[str, Any], options: ReadLaion) -> tuple[LaionReject, str] | None:
    if options.max_aspect_ratio is None:
        return None
    sides = [_number(row.get(column)) or 0.0 for column in (options.width_column, options.height_column)]
    if min(sides) <= 0:
        return LaionReject.FILTERED_ASPECT_RATIO, "no size"
    if max(sides) / min(sides) > options.max_aspect_ratio:
        text = f"{sides[0]:g} x {sides[1]:g} px, more than {options.max_aspect_ratio:g} to 1"
        return LaionReject.FILTERED_ASPECT_RATIO, text
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
