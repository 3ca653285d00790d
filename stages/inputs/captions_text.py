"""Captions files of text: csv, tsv, JSON lines and JSON arrays, a record at a time in bounded memory.

A record of csv, tsv and JSON lines is a line. In tsv a quotation mark is a letter, unless a whole field is quoted as
csv's writers do it. In csv, by RFC 4180, it quotes; a quoted field that does not end on its line is an error that names
the line, so that a stray mark can never swallow the rows behind it.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from core.errors import ShardFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RECORD_BYTES = 1 << 20
"""Longest line, or item of a JSON array, that is read; a longer line is one rejected row."""
CHUNK_BYTES = 1 << 16
DELIMITERS = (",", "\t", ";", "|")
UTF8_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_COCO = re.compile(rb'"(?:images|annotations)"\s*:\s*\[')
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFormat:
    """How records are cut and read: `lines` of JSON, an `array` of JSON, or `csv` with its header."""

    kind: str
    begin: int
    """Byte at which the first record, or the array, begins."""
    delimiter: str = ""
    header: tuple[str, ...] = ()
    first_line: int = 1
    """Number of the line at `begin`."""
    skip_blanks: bool = False
    """True when blanks follow the separators."""
    is_quoted: bool = False
    """True when every name of the header is quoted: then so are the fields of a tsv."""


def find_format(handle: IO[bytes], suffix: str, url: str) -> list[TextFormat]:
    """Formats that the file may have, the likeliest first: a csv by each separator. Raises `ShardFailed` for none."""
    head = handle.read(CHUNK_BYTES)
    for mark, name in OTHER_MARKS.items():
        if head.startswith(mark):
            raise ShardFailed(f"{url}: captions file in {name}; save it as UTF-8 (iconv -f {name} -t UTF-8)")
    begin = len(UTF8_MARK) if head.startswith(UTF8_MARK) else 0
    if suffix in (".csv", ".tsv"):
        return _csv_formats(handle, begin, suffix, url)
    text = head[begin:].lstrip()
    if text.startswith(b"{") and _COCO.search(text):
        raise ShardFailed(f"{url}: captions file in COCO's layout (one object with lists of images and annotations); "
                          'write a line {"file_name": …, "text": …} for each image as .jsonl')  # fmt: skip
    is_array = text.startswith(b"[") and (suffix == ".json" or re.match(rb"\[\s*\{", text) is not None)
    return [TextFormat(kind="array" if is_array else "lines", begin=begin)]


def _csv_formats(handle: IO[bytes], begin: int, suffix: str, url: str) -> list[TextFormat]:
    for number, (at, raw) in enumerate(lines_of(handle, begin), start=1):
        if raw is None or b"\r" in raw.rstrip(b"\r\n"):
            raise ShardFailed(f"{url}: line {number} is no header: too long, or lines end in CR alone; end them in LF")
        if raw.strip():
            return _by_separator(raw, at + len(raw), number, suffix, url)
    return []


def _by_separator(raw: bytes, begin: int, number: int, suffix: str, url: str) -> list[TextFormat]:
    text = raw.decode("latin-1").rstrip("\r\n")
    first = "\t" if suffix == ".tsv" else ","
    found = []
    for delimiter in (first, *(d for d in DELIMITERS if d != first)):
        names = text.split(delimiter)
        form = TextFormat(
            kind="csv", begin=begin, delimiter=delimiter, first_line=number + 1,
            skip_blanks=len(names) > 1 and all(name.startswith(" ") for name in names[1:]),
            is_quoted=all(_QUOTED.fullmatch(name) for name in names),
        )  # fmt: skip
        with contextlib.suppress(csv.Error):
            found.append(replace(form, header=tuple(name.strip() for name in _fields(raw, form))))
    if not found:
        raise ShardFailed(f"{url}: line {number}, the header, has a quotation mark that does not end on it")
    return found


def records_of(handle: IO[bytes], form: TextFormat, at: int | None = None) -> Iterator[tuple[int, bytes | None]]:
    """(byte, text) of each record from byte `at`, or the first, or None for a record that is too long.

    Raises `ValueError` for an array that is damaged. Blank lines are records of no text.
    """
    start = form.begin if at is None else at
    if form.kind == "array":
        return items_of(handle, start, is_opened=start != form.begin)
    return lines_of(handle, start)


def lines_of(handle: IO[bytes], at: int) -> Iterator[tuple[int, bytes | None]]:
    """(byte, line with its end) from byte `at`, or None for a line that is too long."""
    handle.seek(at)
    while raw := handle.readline(MAX_RECORD_BYTES):
        end = at + len(raw)
        is_whole = raw.endswith(b"\n") or len(raw) < MAX_RECORD_BYTES
        while not is_whole and (more := handle.readline(CHUNK_BYTES)):
            end += len(more)
            is_whole = more.endswith(b"\n")
        yield at, raw if end - at == len(raw) else None
        at = end


def items_of(handle: IO[bytes], at: int, *, is_opened: bool) -> Iterator[tuple[int, bytes]]:
    """(byte, JSON) of each item of an array, from its bracket or (`is_opened`) from an item. Raises `ValueError`."""
    handle.seek(at)
    text, place = "", 0  # Latin-1: a character a byte, and JSON's own are all ASCII
    while True:
        while place < len(text) and text[place] in " \t\r\n":
            place += 1
        end = place
        if place < len(text):
            if text[place] == ("," if is_opened else "["):
                is_opened, place = True, place + 1
                continue
            if text[place] == "]":
                if text[place + 1 :].strip() or handle.read(CHUNK_BYTES).strip():
                    raise ValueError(f"more behind the end of the list at byte {at + place}")
                return
            end = _end_of_item(text, place)
        if end < len(text) and end > place:
            yield at + place, text[place:end].encode("latin-1")
            place = end
            continue
        more = handle.read(CHUNK_BYTES)
        if not more or len(text) - place > MAX_RECORD_BYTES:
            what = "is no JSON, or too long" if more else "is cut off"
            raise ValueError(f"the item at byte {at + place} of the list {what}")
        text, at, place = text[place:] + more.decode("latin-1"), at + place, 0


def _end_of_item(text: str, place: int) -> int:
    try:
        return _DECODER.raw_decode(text, place)[1]
    except (ValueError, RecursionError):
        return place


def parse_record(raw: bytes, form: TextFormat) -> dict[str, Any] | None:
    """The record as a row, or None when it is no JSON object. Raises `csv.Error` for a stray quotation mark."""
    if form.kind != "csv":
        try:
            value = json.loads(raw.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None
    values = _fields(raw, form)
    row: dict[str, Any] = dict(zip(form.header, values, strict=False))
    if len(values) > len(form.header):
        row["_more"] = values[len(form.header) :]
    return row


def _fields(raw: bytes, form: TextFormat) -> list[str]:
    line = raw.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    if form.delimiter == "\t":
        return [_unquoted(field, form) for field in line.split("\t")]
    if '"' not in line:
        fields = line.split(form.delimiter)
        return [field.lstrip(" ") for field in fields] if form.skip_blanks else fields
    csv.field_size_limit(MAX_RECORD_BYTES)
    line = line.replace("\r", " ")
    return next(csv.reader([line], delimiter=form.delimiter, strict=True, skipinitialspace=form.skip_blanks))


def _unquoted(field: str, form: TextFormat) -> str:
    """A field of a tsv. Its quotation marks are text, unless inner marks are doubled or the header is quoted."""
    if _QUOTED.fullmatch(field) and (form.is_quoted or '""' in field[1:-1]):
        return field[1:-1].replace('""', '"')
    return field
