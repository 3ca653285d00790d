"""Page headers of a Parquet file, checked before Arrow decodes any page.

A page is decoded whole, a repeated value costs nothing in the file, and the footer may be wrong. So pages are judged by
the headers that Arrow uses. Owns the limits; `stages.inputs.parquet_rows` reads the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_FOOTER_BYTES = 3 << 20
"""Footer of a file: Arrow takes 230 times as much memory for one that is made for it."""
MAX_COLUMNS = 2000
MAX_ROWS_PER_BYTE = 8
"""Rows to a byte of the file, of a file of more than MAX_ROWS_UNASKED rows: no table of images is that dense."""
MAX_ROWS_UNASKED = 1_000_000
MAX_PAGES_BYTES = 128 << 20
"""Largest pages of all columns of a row group together, unpacked, in a table of texts and numbers."""
MAX_IMAGE_PAGES_BYTES = 2 << 30
"""The same in a table that holds images: writers end a page after 1024 rows, or 100, however large they are."""
MAX_ITEMS_PER_GROUP = 16 << 20
"""Items of a column of lists in a row group: they may all be in one row."""
READ_BYTES = 16 << 20
READ_ROWS = 4096
HEADER_BYTES, MAX_HEADER_BYTES = 1 << 10, 1 << 20
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 2, 7, 8


class PageError(ValueError):
    """The file's pages are damaged, or take more memory than a worker may use."""


def check_footer(handle: IO[bytes]) -> int:
    """Bytes of the file. Raises `PageError` when no footer ends it, or one too large to be read."""
    size = handle.seek(0, 2)
    handle.seek(max(0, size - 8))
    tail = handle.read(8)
    footer_bytes = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1":
        raise PageError("it does not end as one")
    if footer_bytes > MAX_FOOTER_BYTES:
        raise PageError(
            f"its footer has {footer_bytes} bytes, more than {MAX_FOOTER_BYTES}; write it with larger row groups"
        )
    return size


def check_file(size: int, num_columns: int, group_rows: Sequence[int]) -> None:
    """Raise `PageError` for a file of that many bytes that claims more than one can hold."""
    if num_columns > MAX_COLUMNS:
        raise PageError(f"it has {num_columns} columns, more than {MAX_COLUMNS}")
    if sum(group_rows) > max(MAX_ROWS_UNASKED, MAX_ROWS_PER_BYTE * size) or min(group_rows, default=0) < 0:
        raise PageError(f"it claims {sum(group_rows)} rows in {size} bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page's header: kind, bytes as stored and unpacked, values, encoding."""

    kind: int
    stored_bytes: int
    unpacked_bytes: int
    num_values: int
    encoding: int


def pages_of(handle: IO[bytes], start: int, stop: int) -> Iterator[Page]:
    """The pages between two places of a file. Raises `PageError` where no header can be read."""
    while start < stop:
        page, header_bytes = _page_at(handle, start, stop)
        yield page
        start += header_bytes + page.stored_bytes


def _page_at(handle: IO[bytes], start: int, stop: int) -> tuple[Page, int]:
    for size in (HEADER_BYTES, MAX_HEADER_BYTES):
        handle.seek(start)
        data = handle.read(min(size, stop - start))
        try:
            fields, length = compact_struct(data)
        except IndexError:
            continue
        details: dict[int, Any] = next((fields[key] for key in (5, 7, 8) if isinstance(fields.get(key), dict)), {})
        encoding = details.get(4 if 8 in fields else 2)
        numbers = [fields.get(1), fields.get(3), fields.get(2), details.get(1, 0), encoding or 0]
        if any(not isinstance(n, int) or n < 0 for n in numbers):
            break
        kind, stored, unpacked, values, encoding = numbers
        return Page(kind=kind, stored_bytes=stored, unpacked_bytes=unpacked, num_values=values,
                    encoding=encoding), length  # fmt: skip
    raise PageError(f"no page can be read at byte {start}")


def compact_struct(data: bytes) -> tuple[dict[int, Any], int]:
    """(fields by number, bytes) of a struct in Thrift's compact protocol. Raises IndexError where `data` ends early."""
    reader = _Compact(data)
    return reader.struct(0), reader.at


class _Compact:
    """Integers and structs of Thrift's compact protocol. Everything else is passed over."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def _byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise PageError("a number of more than 64 bits")

    def struct(self, depth: int) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = (head & 15) == 1 if head & 15 in (1, 2) else self._value(head & 15, depth)
        return fields

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _value(self, kind: int, depth: int) -> Any:
        if depth > 8:
            raise PageError("a header of more than 8 levels")
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 12:
            return self.struct(depth + 1)
        if kind in (9, 10):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            for _ in range(size):
                self._value(head & 15, depth + 1)
            return None
        if kind not in (1, 2, 3, 7, 8):
            raise PageError(f"a header with a value of kind {kind}")
        length = self._varint() if kind == 8 else 8 if kind == 7 else 1
        self.at += length
        if self.at > len(self.data):
            raise IndexError
        return None


@dataclass(slots=True)
class GroupCost:
    """Memory of a row group: `pages_bytes` while pages are decoded, at most `row_bytes` for a row of a batch.

    PageError is raised above `max_pages_bytes`.
    """

    pages_bytes: int = 0
    row_bytes: float = 0.0
    max_pages_bytes: int = field(default_factory=lambda: MAX_PAGES_BYTES)

    def add(self, pages: Iterable[Page], *, width: int, is_list: bool, is_shared: bool) -> None:
        """Count the pages of one column. `width` is the bytes of a value, or 0 for text.

        `is_shared` says that Arrow keeps each text of the dictionary once, whatever the number of its rows.
        """
        largest = dictionary = items = 0
        density = 4.0 + width
        for page in pages:
            if page.kind == DICTIONARY:
                dictionary = max(dictionary, page.unpacked_bytes)
                if page.num_values > page.unpacked_bytes:
                    raise PageError(f"a dictionary of {page.num_values} values in {page.unpacked_bytes} bytes")
                continue
            largest = max(largest, page.unpacked_bytes + page.stored_bytes)
            items += page.num_values
            if page.encoding == DELTA_BYTE_ARRAY:  # each value may repeat all that came before it
                density = max(density, page.unpacked_bytes)
            elif page.encoding not in (PLAIN_DICTIONARY, RLE_DICTIONARY):
                density = max(density, page.unpacked_bytes / max(1, page.num_values))
            elif not width and not is_shared:
                density = max(density, dictionary)
            if self.pages_bytes + largest > self.max_pages_bytes:
                break
        if is_list and items > MAX_ITEMS_PER_GROUP:
            raise PageError(f"{items} items in lists, more than {MAX_ITEMS_PER_GROUP} in one row group")
        self.pages_bytes += largest + 3 * dictionary
        self.row_bytes += density
        if self.pages_bytes > self.max_pages_bytes:
            raise PageError(f"pages of {self.pages_bytes >> 20} MiB, more than {self.max_pages_bytes >> 20} MiB; "
                            "write the table with smaller pages")  # fmt: skip

    @property
    def rows_at_a_time(self) -> int:
        """Rows that are decoded at a time."""
        return max(1, min(READ_ROWS, int(READ_BYTES / max(1.0, self.row_bytes))))
