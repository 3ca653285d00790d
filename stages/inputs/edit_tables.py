"""Read tables of edits: Parquet with images within, or JSON lines that name image files beside them."""

from __future__ import annotations

import contextlib
import itertools
import posixpath
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fsspec.core import url_to_fs

from core.errors import ShardFailed
from pipeline.store.records import digest
from stages.inputs.captions_file import opened
from stages.inputs.captions_text import lines_of
from stages.inputs.edit_rows import InputEdit
from stages.inputs.edit_texts import IMAGE_NAMES, Names, json_object
from stages.inputs.folder_images import ImageFolder
from stages.inputs.image_values import Images, holds_images
from stages.inputs.parquet_rows import TableReader, table_reader
from stages.inputs.table_columns import described, holds_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

TABLE_SUFFIXES = (".parquet", ".jsonl", ".ndjson")


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Rows `start` to `stop` of a table, and the byte where they begin (JSON lines only)."""

    start: int
    stop: int
    begin: int | None
    stamp: str
    """Changes with the image files that the rows name."""
    num_bytes: int


def list_spans(url: str, names: Names, num_rows: int) -> Iterator[Span]:
    """The table in spans of `num_rows`. Raises `ShardFailed` for a table that cannot serve."""
    if posixpath.splitext(url_to_fs(url)[1])[1].lower() == ".parquet":
        return _spans_of_parquet(url, names, num_rows)
    stamp_of = ImageFolder(url).stamps()
    return spans_of_lines(url, num_rows, lambda row: [stamp_of(_first(row, names[role])) for role in IMAGE_NAMES])


def _spans_of_parquet(url: str, names: Names, num_rows: int) -> Iterator[Span]:
    """A table that names its images by path is not looked at beyond its own time and size."""
    fs, path = url_to_fs(url)
    with contextlib.closing(TableReader(url, lambda schema: _columns(schema, names, url))) as table:
        total, size = table.num_rows, int(fs.size(path) or 0)
    for start in range(0, total, num_rows):
        stop = min(total, start + num_rows)
        yield Span(
            start=start, stop=stop, begin=None, stamp=f"{start}-{stop}", num_bytes=size * (stop - start) // total
        )


def spans_of_lines(
    url: str, num_rows: int, stamps_of: Callable[[dict[str, Any]], list[tuple[int, str]]]
) -> Iterator[Span]:
    """JSON lines in spans of `num_rows`; `stamps_of` gives (bytes, stamp) of the image files that a row names."""
    with opened(url) as handle:
        lines = written_lines(handle, 0)
        for start in itertools.count(0, num_rows):
            places: list[int] = []
            stamps: list[tuple[int, str]] = []
            for begin, raw in itertools.islice(lines, num_rows):  # a line may be long: none is held
                row = {} if raw is None else json_object(raw) or {}
                places.append(begin)
                stamps += stamps_of(row)
            if not places:
                return
            yield Span(
                start=start, stop=start + len(places), begin=places[0],
                stamp=digest([f"{size}:{stamp}" for size, stamp in stamps]),
                num_bytes=sum(size for size, _ in stamps) + places[-1] - places[0],
            )  # fmt: skip


def read_edits(
    url: str, span: tuple[int, int], begin: int | None, names: Names, max_bytes: int, readers: dict[str, TableReader]
) -> Iterator[InputEdit]:
    """The edits of one span. `readers` keeps a Parquet file open from span to span.

    Raises `ShardFailed` when the file has changed.
    """
    folder = ImageFolder(url)
    for number, row in enumerate(_rows(url, span, begin, names, max_bytes, readers), span[0]):
        image_names = {name for role in IMAGE_NAMES for name in names[role]}
        texts = None if row is None else {name: value for name, value in row.items() if name not in image_names}
        edit = InputEdit(key=f"row {number}", row=texts)
        for role in IMAGE_NAMES:
            value = _first(row or {}, names[role])
            if isinstance(value, str) and role == "source_image":
                edit.key = value
            edit.add_image(role, value, folder, max_bytes)
        yield edit


def _rows(
    url: str, span: tuple[int, int], begin: int | None, names: Names, max_bytes: int, readers: dict[str, TableReader]
) -> Iterator[dict[str, Any] | None]:
    start, stop = span
    if begin is None:
        images = Images(names=frozenset(n for role in IMAGE_NAMES for n in names[role]), max_bytes=max_bytes)
        with table_reader(url, readers, lambda schema: _columns(schema, names, url), images) as table:
            yield from table.read(start, stop)
        return
    yield from read_json_lines(url, start, stop, begin)


def read_json_lines(url: str, start: int, stop: int, begin: int) -> Iterator[dict[str, Any] | None]:
    """The JSON objects of lines `start` to `stop`, blank ones not counted, None for a line that is none."""
    number = start
    with opened(url) as handle:
        if begin:
            handle.seek(begin - 1)
            if handle.read(1) != b"\n":
                raise ShardFailed(f"{url}: no line begins at byte {begin}: the file was changed after the plan; "
                                  "run the same command again")  # fmt: skip
        for _, raw in itertools.islice(written_lines(handle, begin), stop - start):
            yield None if raw is None else json_object(raw)
            number += 1
    if number < stop:
        raise ShardFailed(
            f"{url}: has no rows {number} to {stop}: the file was changed after the plan; run the same command again"
        )


def written_lines(handle: IO[bytes], at: int) -> Iterator[tuple[int, bytes | None]]:
    """(byte, line) of each line that is not blank, None for one that is too long."""
    return ((begin, raw) for begin, raw in lines_of(handle, at) if raw is None or raw.strip())


def _columns(schema: pa.Schema, names: Names, url: str) -> list[str]:
    """The columns that are read whatever their size. Raises `ShardFailed` for a table that holds no edits."""
    found = {column: next((n for n in theirs if n in schema.names), None) for column, theirs in names.items()}
    for column, fits, what in (("instruction", _holds_texts, "text"), ("source_image", holds_images, "images")):
        name = found[column]
        if name is None or not fits(schema.field(name).type):
            raise ShardFailed(f"{url}: no column for {column} that holds {what} (looked for "
                              f"{', '.join(names[column])}); it has {described(schema)}")  # fmt: skip
    return [name for name in found.values() if name is not None]


def _holds_texts(kind: pa.DataType) -> bool:
    return holds_text(kind, or_lists=True)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
