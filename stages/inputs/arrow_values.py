"""Convert values of Arrow arrays to JSON's types: null, booleans, numbers, text, lists and objects. No value raises.

A value that neither JSON nor text can hold (pixels, a date of the year 200,000) is None, and so is a text or a list
beyond the limits below: this module reads captions, addresses and numbers.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ValueAt = Callable[[int], Any]

MAX_VALUE_BYTES = 1 << 20
"""Longest text of a table that is read."""
MAX_ITEMS = 10_000
"""Longest list of a table that is read, and most items of all lists within one value."""
MAX_DEPTH = 32
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  time zones are written by hand


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows of a batch as dicts of plain values, one at a time."""
    columns = [(name, _reader(column, 0)) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    for row in range(batch.num_rows):
        yield {name: value_at(row) for name, value_at in columns}


def _reader(array: pa.Array, depth: int) -> ValueAt:
    """A function from row to plain value."""
    kind = array.type
    if depth > MAX_DEPTH or pa.types.is_null(kind):
        return lambda _row: None
    if isinstance(kind, pa.BaseExtensionType):
        return _reader(array.storage, depth)
    if pa.types.is_dictionary(kind):
        return _shared(array, depth)
    if pa.types.is_struct(kind):
        return _objects(array, depth)
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(array, depth)
    if pa.types.is_fixed_size_list(kind):
        return _fixed_lists(array, depth)
    if _is_text(kind):
        return lambda row: _text(array[row])
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return _times(array)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values: list[Any] = array.to_pylist()
        return values.__getitem__
    return lambda row: _other(array[row])


def _is_text(kind: pa.DataType) -> bool:
    names = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed_size_binary")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in names)


def _shared(array: pa.Array, depth: int) -> ValueAt:
    """Values of a dictionary are made once and shared: a long one may be in every row."""
    value_at, indices, size = _reader(array.dictionary, depth), array.indices.to_pylist(), len(array.dictionary)
    made: dict[int, Any] = {}

    def read(row: int) -> Any:
        index = indices[row]
        if index is None or not 0 <= index < size:  # Arrow takes indices of a damaged file as they are
            return None
        if index not in made:
            made[index] = value_at(index)
        return made[index]

    return read


def _objects(array: pa.Array, depth: int) -> ValueAt:
    fields = [(array.type.field(n).name, _reader(array.field(n), depth + 1)) for n in range(array.type.num_fields)]
    is_valid = array.is_valid().to_pylist()
    return lambda row: {name: value_at(row) for name, value_at in fields} if is_valid[row] else None


def _lists(array: pa.Array, depth: int) -> ValueAt:
    offsets, is_valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
    is_map = pa.types.is_map(array.type)
    children = (array.keys, array.items) if is_map else (array.values,)

    def is_short(start: int, stop: int) -> bool:
        return sum(_num_items(child, start, stop) for child in children) <= MAX_ITEMS

    def read(row: int) -> Any:
        start, stop = offsets[row], offsets[row + 1]
        if not is_valid[row] or not 0 <= stop - start <= MAX_ITEMS or not is_short(start, stop):
            return None
        if is_map:
            keys, items = (_part(child, start, stop, depth) for child in children)
            return [list(pair) for pair in zip(keys, items, strict=True)]
        return _part(array.values, start, stop, depth)

    return read


def _fixed_lists(array: pa.Array, depth: int) -> ValueAt:
    size, first, is_valid = array.type.list_size, array.offset, array.is_valid().to_pylist()

    def read(row: int) -> Any:
        start = (first + row) * size
        if not is_valid[row] or _num_items(array.values, start, start + size) > MAX_ITEMS:
            return None
        return _part(array.values, start, start + size, depth)

    return read


def _num_items(values: pa.Array, start: int, stop: int) -> int:
    """Items `start` to `stop` and those within them."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return _num_items(values.storage, start, stop)
    if pa.types.is_struct(kind):
        return sum(_num_items(values.field(n), start, stop) for n in range(kind.num_fields))
    if pa.types.is_fixed_size_list(kind):
        first, size = values.offset, kind.list_size
        return _num_items(values.values, (first + start) * size, (first + stop) * size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        first, last = values.offsets[start].as_py(), values.offsets[stop].as_py()
        children = (values.keys, values.items) if pa.types.is_map(kind) else (values.values,)
        return stop - start + sum(_num_items(child, first, last) for child in children)
    return stop - start


def _part(values: pa.Array, start: int, stop: int, depth: int) -> list[Any]:
    """Values `start` to `stop` of a list's items."""
    part = values.slice(start, stop - start)
    value_at = _reader(part, depth + 1)
    return [value_at(row) for row in range(len(part))]


def _text(scalar: pa.Scalar) -> str | None:
    """Text, or bytes that are text. Bytes that are none only give text where the column says that it is."""
    buffer = scalar.as_buffer() if scalar.is_valid else None
    if buffer is None or buffer.size > MAX_VALUE_BYTES:
        return None
    raw: bytes = buffer.to_pybytes()
    if "string" in str(scalar.type):
        return raw.decode("utf-8", "replace")
    return text_of_bytes(raw)


def text_of_bytes(raw: bytes) -> str | None:
    """Bytes as the text that they are in UTF-8, or None: pixels, hashes."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _times(array: pa.Array) -> ValueAt:
    kind = array.type
    is_day = pa.types.is_date32(kind)
    unit = "s" if is_day else "ms" if pa.types.is_date64(kind) else kind.unit
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    counts = array.view(width).to_pylist()
    say = _span if pa.types.is_duration(kind) else _clock if pa.types.is_time(kind) else _moment

    def read(row: int) -> str | None:
        if counts[row] is None:
            return None
        seconds, parts = divmod(counts[row] * (86_400 if is_day else 1), _PER_SECOND[unit])
        nanoseconds = parts * 10**9 // _PER_SECOND[unit]
        try:
            text = say(seconds, nanoseconds, kind)
        except OverflowError:
            return None
        return text

    return read


def _fraction(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    return f".{nanoseconds // 1000:06d}" if nanoseconds % 1000 == 0 else f".{nanoseconds:09d}"


def _moment(seconds: int, nanoseconds: int, kind: pa.DataType) -> str:
    moment = _EPOCH + dt.timedelta(seconds=seconds)
    if pa.types.is_date(kind):
        return str(moment.date())
    return f"{moment}{_fraction(nanoseconds)}{'+00:00' if kind.tz else ''}"


def _clock(seconds: int, nanoseconds: int, kind: pa.DataType) -> str | None:
    del kind
    return (
        f"{(_EPOCH + dt.timedelta(seconds=seconds)).time()}{_fraction(nanoseconds)}" if 0 <= seconds < 86_400 else None
    )


def _span(seconds: int, nanoseconds: int, kind: pa.DataType) -> str:
    del kind
    return f"{dt.timedelta(seconds=seconds)}{_fraction(nanoseconds)}"


def _other(scalar: pa.Scalar) -> Any:
    """Floats, decimals and rare kinds."""
    try:
        value = scalar.as_py()
        if isinstance(value, int | float) or type(value).__module__ == "numpy":
            number = float(value)
            return number if math.isfinite(number) else None
        return None if value is None else str(value)
    except Exception:  # noqa: BLE001  whatever a library makes of a rare kind, one value must not stop a build
        return None
