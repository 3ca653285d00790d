"""Read a captions file of any kind: find its columns by name, list it once, then read spans."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import posixpath
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fsspec.core import url_to_fs

from core.errors import ShardFailed
from stages.inputs.captions_text import SUFFIXES, TextFormat, find_format, parse_record, records_of
from stages.inputs.parquet_rows import TableReader, table_reader
from stages.inputs.table_columns import CAPTION_NAMES, FILE_NAMES, described, find_column, holds_text, listed, say_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

HEAD_ROWS = 100
"""Rows of JSON that are looked at for its columns."""
FILE_DEFAULT, CAPTION_DEFAULT = "file_name", "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The columns that the settings ask for in a captions file."""

    file_column: str = FILE_DEFAULT
    caption_column: str = CAPTION_DEFAULT
    needs_caption: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The file's columns that hold the images' names and the captions. `caption` is None where none does."""

    file: str
    caption: str | None

    @property
    def named(self) -> list[str]:
        """The columns that there are."""
        return [name for name in (self.file, self.caption) if name is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One listed row: its first byte in the file (None in Parquet) and the image that it names."""

    at: int | None
    name: Any


def list_lines(url: str, wanted: Wanted) -> Iterator[Line]:
    """All rows of a captions file, in one pass. Raises `ShardFailed` for a file that cannot serve."""
    if _suffix(url) == ".parquet":
        with contextlib.closing(TableReader(url, lambda schema: [_table_columns(schema, wanted, url).file])) as table:
            table.leave_out_others()
            for named in table.read(0, table.num_rows):
                yield Line(at=None, name=next(iter(named.values())))
        return
    with opened(url) as handle:
        form, found = _text_columns(handle, wanted, url)
        for at, row in _rows(handle, form, None, url) if form and found else ():
            yield Line(at=at, name=row.get(found.file) if row and found else None)


def read_lines(
    url: str, wanted: Wanted, span: tuple[int, int], at: int | None, readers: dict[str, TableReader]
) -> Iterator[tuple[Columns, dict[str, Any] | None]]:
    """(columns, row) of each row from byte `at`, or None for a row that is no JSON object.

    `readers` keeps a Parquet file open from span to span. Raises `ShardFailed` when the file has changed.
    """
    start, stop = span
    if _suffix(url) == ".parquet":
        with table_reader(url, readers, lambda schema: _table_columns(schema, wanted, url).named) as table:
            columns = _table_columns(table.schema, wanted, url)
            for held in table.read(start, stop):
                yield columns, held
        return
    with opened(url) as handle:
        form, found = _text_columns(handle, wanted, url)
        rows = _rows(handle, form, at, url) if form and found else iter(())
        number = start
        for _, row in itertools.islice(rows, stop - start):
            assert found is not None
            yield found, row
            number += 1
    if number < stop:
        raise ShardFailed(
            f"{url}: has no rows {number} to {stop}: the file was changed after the plan; run the same command again"
        )


def _suffix(url: str) -> str:
    suffix: str = posixpath.splitext(url_to_fs(url)[1])[1].lower()
    if suffix not in (*SUFFIXES, ".parquet"):
        raise ShardFailed(
            f"{url}: captions file of unknown kind {suffix!r}; csv, tsv, jsonl, json and parquet are read"
        )
    return suffix


@contextlib.contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """The file, buffered."""
    fs, path = url_to_fs(url)
    opened = open(path, "rb") if "file" in fs.protocol else io.BufferedReader(fs.open(path, "rb"))  # noqa: PTH123, SIM115  fsspec gives text paths
    with opened as handle:
        yield handle


def _rows(handle: IO[bytes], form: TextFormat, at: int | None, url: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(byte, row) from byte `at` or the first. Raises `ShardFailed` that names the line of a stray quotation mark."""
    if at and form.kind != "array":
        handle.seek(at - 1)
        if handle.read(1) != b"\n" and at != form.begin:
            raise ShardFailed(
                f"{url}: no line begins at byte {at}: the file was changed after the plan; run the same command again"
            )
    number = form.first_line - 1
    try:
        for place, raw in records_of(handle, form, at):
            number += 1
            if raw is not None and not raw.strip():
                continue
            yield place, None if raw is None else parse_record(raw, form)
    except csv.Error:
        where = f"line {number}" if at is None else f"line {number - form.first_line + 1} from byte {at}"
        raise ShardFailed(
            f"{url}: {where} has a quoted field that does not end on it, or a quotation mark within one; write a mark "
            'within a quoted field twice (""), a caption on one line, or the file as .jsonl'
        ) from None
    except ValueError as error:
        raise ShardFailed(f"{url}: captions file that is no JSON list ({error})") from None


def _text_columns(handle: IO[bytes], wanted: Wanted, url: str) -> tuple[TextFormat | None, Columns | None]:
    """(format, columns) of a file of text, or Nones for no rows. Raises `ShardFailed` for an unusable file."""
    refused: ShardFailed | None = None
    for form in find_format(handle, _suffix(url), url):
        try:
            if form.kind == "csv":
                columns = _named(form.header, wanted, listed(form.header), url)
            head = [row for _, row in itertools.islice(_rows(handle, form, None, url), HEAD_ROWS)]
            found = columns if form.kind == "csv" else _json_columns(head, wanted, url)
            if found is not None and found.caption is not None:
                _check_encoding([row[found.caption] for row in head if row and row.get(found.caption)], url)
        except ShardFailed as error:
            refused = refused or error
        else:
            return form, found
    if refused is not None:
        raise refused
    return None, None


def _check_encoding(head: Sequence[Any], url: str) -> None:
    """Raise `ShardFailed` when no caption of the first rows is UTF-8."""
    if head and all(isinstance(text, str) and any("\udc80" <= c <= "\udcff" for c in text) for text in head):
        raise ShardFailed(f"{url}: captions file that is not UTF-8; save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8)")


def _json_columns(head: Sequence[dict[str, Any] | None], wanted: Wanted, url: str) -> Columns | None:
    if not head:
        return None
    objects = [row for row in head if row is not None]
    if not objects:
        raise ShardFailed(
            f"{url}: none of its first {len(head)} rows is a JSON object; a line is one, or a list of them"
        )
    names = list(dict.fromkeys(name for row in objects for name in row))
    columns = _named(names, wanted, listed(names), url)
    for setting, name, kinds in (
        ("file_column", columns.file, (str,)),
        ("caption_column", columns.caption, (str, list)),
    ):
        values = [row[name] for row in objects if row.get(name) is not None] if name else []
        if values and not any(isinstance(value, kinds) for value in values):
            raise ShardFailed(f"{url}: column {name!r} ({setting}) holds no text but {type(values[0]).__name__}; "
                              f"it has {listed(names)}")  # fmt: skip
    return columns


def _table_columns(schema: pa.Schema, wanted: Wanted, url: str) -> Columns:
    columns = _named(schema.names, wanted, listed(schema.names), url)
    for setting, name in (("file_column", columns.file), ("caption_column", columns.caption)):
        if name is None or holds_text(schema.field(name).type, or_lists=setting == "caption_column"):
            continue
        kind = schema.field(name).type
        if kind.num_fields and {"bytes", "path"} <= {kind.field(n).name for n in range(kind.num_fields)}:
            raise ShardFailed(f"{url}: column {name!r} holds images themselves, as Hugging Face's datasets do; save "
                              "them as files and name them, or write tars for read_webdataset")  # fmt: skip
        raise ShardFailed(f"{url}: column {name!r} ({setting}) has type {say_type(kind)}, which holds no text; "
                          f"it has {described(schema)}")  # fmt: skip
    return columns


def _named(names: Sequence[str], wanted: Wanted, there: str, url: str) -> Columns:
    """The columns by name. Raises `ShardFailed` that says which columns there are, and which one was expected."""
    try:
        file = find_column("file_column", wanted.file_column, FILE_DEFAULT, FILE_NAMES, names)
        caption = find_column("caption_column", wanted.caption_column, CAPTION_DEFAULT, CAPTION_NAMES,
                              [name for name in names if name != file])  # fmt: skip
    except ValueError as error:
        raise ShardFailed(f"{url}: {error}") from None
    lacking = [f"file_column = {wanted.file_column!r}"] if file is None else []
    if caption is None and wanted.needs_caption:
        lacking.append(f"caption_column = {wanted.caption_column!r}")
    if file is None or lacking:
        raise ShardFailed(f"{url}: no column for {', '.join(lacking)}; it has {there}")
    return Columns(file=file, caption=caption)
