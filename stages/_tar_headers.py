"""Walks the headers of a tar that may be damaged or hostile, and says where the content of each member lies.

Owns the format: numbers, checksums, long names, pax records, sparse maps, end markers; v7, ustar, GNU and pax. Of a
header it keeps the name, the kind and the size: what else stands there takes no memory, and may be anything. Zeros
between members are passed over as `tar --ignore-zeros` does, so tars that were put together are read as one.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

BLOCK = 512
CHUNK = 1 << 20
MAX_NAME_BYTES = 8192
"""Twice the longest path of Linux."""
MAX_PAX_BYTES, MAX_PAX_RECORDS = 1 << 20, 4096
"""Of one pax header; attributes that macOS keeps there may be large."""
MAX_HEADERS = 64
"""Headers of names and records before one member."""
MAX_ZERO_BYTES = 1 << 30
"""Zeros that are passed over in one tar."""
DAMAGE_NOTE = "archive damaged: the rest of it could not be read"
CUT_NOTE = "archive cut off: no end marker"
BEHIND_NOTE = "bytes behind the end marker, not read"
FULL_NOTE = "bytes behind the most members that one tar may have, not read"

FILES, FOLDERS = frozenset({b"0", b"\0", b"7", b"S"}), frozenset({b"5", b"D"})
WITHOUT_CONTENT = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
"""Links, devices, folders and pipes, whatever size they state."""
SPARSE, LONG_NAME, LONG_LINK, PAX, GLOBAL = b"S", b"L", b"K", (b"x", b"X"), b"g"
POSIX_MAGIC = b"ustar\0"
_OCTAL, _DECIMAL = re.compile(rb"[0-7]*"), re.compile(rb"[0-9]{1,20}")


class NoTarError(ValueError):
    """The file holds no header of a tar."""


class _DamageError(ValueError):
    """A header makes no sense."""


class _CutError(EOFError):
    """The file ends where more should stand."""


class Member(NamedTuple):
    """One member: its content is `size` bytes from `offset` on, which may lie behind the end of the file.

    `start` is where its first header stands.
    """

    start: int
    name: str
    is_file: bool
    is_folder: bool
    is_sparse: bool
    offset: int
    size: int


class _Extras(NamedTuple):
    """What headers before a member say of it."""

    name: bytes | None = None
    size: int | None = None
    is_sparse: bool = False


class TarWalk:
    """The members of one file of `size` bytes, in order. `offset` is where the header after the last one stands."""

    def __init__(self, handle: IO[bytes], size: int) -> None:
        self._handle, self._size = handle, size
        self.offset = 0
        self._num_zeros = 0
        self._is_ended = False
        self._common = _Extras()

    def members(self, notes: Counter[str]) -> Iterator[Member]:
        """Members up to the end or to where headers make no sense, which is noted. Raises NoTarError without any."""
        has_any = False
        try:
            while self._find_header():
                member = self._member()
                has_any = True
                yield member
                if member.offset + member.size > self._size:
                    notes[DAMAGE_NOTE] += 1
        except (_DamageError, _CutError) as error:
            if not has_any:
                raise NoTarError(str(error)) from None
            if isinstance(error, _DamageError):
                notes[DAMAGE_NOTE] += 1
                return
        if not self._is_ended:
            notes[CUT_NOTE] += 1
        elif self.offset < self._size:
            if not has_any:
                raise NoTarError("no header of a tar")
            notes[BEHIND_NOTE] += self._size - self.offset

    def _find_header(self) -> bool:
        """Pass over zeros; False where the file ends, or what follows an end marker is no header."""
        if self.offset >= self._size:
            return False
        self._is_ended = False
        block = self._at(self.offset, BLOCK)
        if block.count(0) == BLOCK:
            self._pass_zeros()
            if self.offset >= self._size or self._num_zeros > MAX_ZERO_BYTES:
                return False
            block = self._at(self.offset, BLOCK)
        return not self._is_ended or _is_header(block)

    def _pass_zeros(self) -> None:
        self._is_ended = True
        while chunk := self._at(self.offset, CHUNK):
            zeros = len(chunk) - len(chunk.lstrip(b"\0"))
            if zeros < len(chunk):
                zeros -= zeros % BLOCK
            self.offset += zeros
            self._num_zeros += zeros
            if zeros < len(chunk) or self._num_zeros > MAX_ZERO_BYTES:
                return

    def _member(self) -> Member:
        """The next member with all headers before it; the walk stands behind its content then."""
        start, extras = self.offset, _Extras()
        self._is_ended = False
        for _ in range(MAX_HEADERS):
            block = self._take(BLOCK)
            if not _is_header(block):
                raise _DamageError("no header of a tar")
            kind, size = block[156:157], _size_in(block)
            if kind not in (LONG_NAME, LONG_LINK, *PAX, GLOBAL):
                return self._described(start, block, extras)
            is_name = kind in (LONG_NAME, LONG_LINK)
            if size > (MAX_NAME_BYTES if is_name else MAX_PAX_BYTES):
                raise _DamageError(f"a header of {size} bytes")
            content = self._take(size)
            if kind == LONG_NAME:
                extras = extras._replace(name=_up_to_nul(content))
            elif kind == GLOBAL:
                self._common = _pax(content, self._common)
            elif not is_name:
                extras = _pax(content, extras)
        raise _DamageError(f"more than {MAX_HEADERS} headers before a member")

    def _described(self, start: int, block: bytes, extras: _Extras) -> Member:
        kind, common = block[156:157], self._common
        name = next(found for found in (extras.name, common.name, _name_in(block)) if found is not None)
        size = next(found for found in (extras.size, common.size, _size_in(block)) if found is not None)
        is_folder = kind in FOLDERS or (kind == b"\0" and name.endswith(b"/"))
        has_more = kind == SPARSE and block[482]
        while has_more:
            has_more = self._take(BLOCK)[504]
        member = Member(
            start, name.decode("utf-8", "surrogateescape"), kind in FILES and not is_folder, is_folder,
            kind == SPARSE or extras.is_sparse, self.offset, 0 if kind in WITHOUT_CONTENT else size,
        )  # fmt: skip
        self.offset += member.size + -member.size % BLOCK
        return member

    def _take(self, size: int) -> bytes:
        """The next `size` bytes, in whole blocks."""
        content = self._at(self.offset, size)
        if len(content) < size:
            raise _CutError("the file ends within a header")
        self.offset += size + -size % BLOCK
        return content

    def _at(self, offset: int, size: int) -> bytes:
        self._handle.seek(offset)
        return self._handle.read(size)


def _is_header(block: bytes) -> bool:
    """True where the checksum is that of the block, its bytes taken as unsigned or, as old tars have it, as signed."""
    if len(block) < BLOCK:
        return False
    try:
        stated = _number(block[148:156])
    except _DamageError:
        return False
    others = block[:148] + b" " * 8 + block[156:]
    return stated in (sum(others), sum(others) - 256 * sum(byte > 127 for byte in others))


def _number(field: bytes) -> int:
    """A number in octal digits, or in base 256 where the first bit is set."""
    if field[0] & 0x80:
        rest = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        return rest - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else rest
    digits = _up_to_nul(field).strip(b" ")
    if not _OCTAL.fullmatch(digits):
        raise _DamageError("a number that is none")
    return int(digits or b"0", 8)


def _size_in(block: bytes) -> int:
    size = _number(block[124:136])
    if size < 0:
        raise _DamageError(f"a size of {size} bytes")
    return size


def _name_in(block: bytes) -> bytes:
    name, prefix = _up_to_nul(block[:100]), _up_to_nul(block[345:500])
    return prefix + b"/" + name if prefix and block[257:263] == POSIX_MAGIC else name


def _pax(content: bytes, extras: _Extras) -> _Extras:
    """`extras` with what the records say: `length key=value`, one after the other, the length that of all of it."""
    at = 0
    for _ in range(MAX_PAX_RECORDS):
        if at >= len(content) or content[at] == 0:
            return extras
        space = content.find(b" ", at, at + 21)
        digits = content[at : max(at, space)]
        end = at + int(digits) if _DECIMAL.fullmatch(digits) else 0
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not space < end <= len(content) or content[end - 1] != 0x0A or not equals:
            raise _DamageError("a pax record that is none")
        extras = _with_record(extras, key, value)
        at = end
    raise _DamageError(f"more than {MAX_PAX_RECORDS} pax records")


def _with_record(extras: _Extras, key: bytes, value: bytes) -> _Extras:
    if key in (b"path", b"GNU.sparse.name"):
        if len(value) > MAX_NAME_BYTES:
            raise _DamageError(f"a name of {len(value)} bytes")
        if not (key == b"path" and extras.is_sparse and extras.name):  # the path of a sparse file is made up
            extras = extras._replace(name=value)
    elif key == b"size":
        if not _DECIMAL.fullmatch(value):
            raise _DamageError("a size that is none")
        extras = extras._replace(size=int(value))
    return extras._replace(is_sparse=True) if key.startswith(b"GNU.sparse.") else extras


def _up_to_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
