"""Find the content of each member of a tar that may be damaged or hostile, by its headers.

Owns the format: numbers, checksums, long names, sparse maps, end markers; v7, ustar, GNU and pax. Of a
header it keeps the name, the kind and the size: all other content takes no memory, and may be anything. Zeros
between members are passed over as `tar --ignore-zeros` does, so tars that were put together are read as one.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, NamedTuple

from stages.inputs.tar_pax import MAX_NAME_BYTES, MAX_PAX_BYTES, DamageError, Extras, with_records

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

BLOCK = 512
CHUNK = 1 << 20
MAX_HEADERS = 64
"""Headers of names and records before one member."""
MAX_ZERO_BYTES = 1 << 30
"""Zeros that are passed over in one tar."""
DAMAGE_NOTE = "archive damaged: the rest of it could not be read"
CUT_NOTE = "archive cut off: no end marker"
GARBLED_NOTE = "members with records that make no sense, which were ignored"
BEHIND_NOTE = "bytes behind the end marker, not read"
FULL_NOTE = "bytes behind the most members that one tar may have, not read"

FILES, FOLDERS = frozenset({b"0", b"\0", b"7", b"S"}), frozenset({b"5", b"D"})
WITHOUT_CONTENT = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
"""Links, devices, folders and pipes, whatever size they state."""
SPARSE, LONG_NAME, LONG_LINK, PAX, GLOBAL = b"S", b"L", b"K", (b"x", b"X"), b"g"
GNU_MAGIC = b"ustar  \0"
"""Of headers that hold times where others hold the first part of a long name."""
_ZEROS = bytes(CHUNK)
_OCTAL = re.compile(rb"[0-7]*")


class NoTarError(ValueError):
    """The file holds no header of a tar."""


class _CutError(EOFError):
    """The file ends too early."""


class Member(NamedTuple):
    """One member: its content is `size` bytes from `offset` on, which may be behind the end of the file.

    `start` is the place of its first header.
    """

    start: int
    name: str
    is_file: bool
    is_folder: bool
    is_sparse: bool
    is_garbled: bool
    offset: int
    size: int


class TarWalk:
    """The members of one file of `size` bytes, in order. `offset` is the place of the next header."""

    def __init__(self, handle: IO[bytes], size: int) -> None:
        self._handle, self._size = handle, size
        self.offset = 0
        self._num_zeros = 0
        self._is_ended = False
        self._common = Extras()

    def members(self, notes: Counter[str]) -> Iterator[Member]:
        """Members up to the end, or up to the first damage, which is noted. Raises NoTarError without any."""
        has_any = False
        try:
            while self._find_header():
                member = self._member()
                has_any = True
                if member.is_garbled:
                    notes[GARBLED_NOTE] += 1
                yield member
                if member.offset + member.size > self._size:
                    notes[DAMAGE_NOTE] += 1
        except (DamageError, _CutError) as error:
            if not has_any:
                raise NoTarError(str(error)) from None
            if isinstance(error, DamageError):
                notes[DAMAGE_NOTE] += 1
                return
        if not self._is_ended:
            notes[CUT_NOTE] += 1
        elif self.offset < self._size:
            if not has_any:
                raise NoTarError("no header of a tar")
            notes[BEHIND_NOTE] += self._size - self.offset

    def _find_header(self) -> bool:
        """Pass over zeros, or False where the file ends, or what follows an end marker is no header."""
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
            is_zero = chunk == _ZEROS[: len(chunk)]  # quicker than to strip
            zeros = len(chunk) if is_zero else len(chunk) - len(chunk.lstrip(b"\0"))
            if zeros < len(chunk):
                zeros -= zeros % BLOCK
            self.offset += zeros
            self._num_zeros += zeros
            if zeros < len(chunk) or self._num_zeros > MAX_ZERO_BYTES:
                return

    def _member(self) -> Member:
        """The next member with all headers before it. `offset` is behind its content then."""
        start, extras = self.offset, Extras()
        self._is_ended = False
        for _ in range(MAX_HEADERS):
            block = self._take(BLOCK)
            if not _is_header(block):
                raise DamageError("no header of a tar")
            kind, size = block[156:157], _size_in(block)
            if kind not in (LONG_NAME, LONG_LINK, *PAX, GLOBAL):
                return self._described(start, block, extras)
            is_name = kind in (LONG_NAME, LONG_LINK)
            if size > (MAX_NAME_BYTES if is_name else MAX_PAX_BYTES):
                raise DamageError(f"a header of {size} bytes")
            content = self._take(size)
            if kind == LONG_NAME:
                extras = extras._replace(name=_up_to_nul(content))
            elif kind == GLOBAL:
                self._common = with_records(content, self._common)
            elif not is_name:
                extras = with_records(content, extras)
        raise DamageError(f"more than {MAX_HEADERS} headers before a member")

    def _described(self, start: int, block: bytes, extras: Extras) -> Member:
        kind, common = block[156:157], self._common
        name = next(found for found in (extras.name, common.name, _name_in(block)) if found is not None)
        size = next(found for found in (extras.size, common.size, _size_in(block)) if found is not None)
        is_folder = kind in FOLDERS or (kind == b"\0" and name.endswith(b"/"))
        has_more = kind == SPARSE and block[482]
        while has_more:
            has_more = self._take(BLOCK)[504]
        member = Member(
            start, name.decode("utf-8", "surrogateescape"), kind in FILES and not is_folder, is_folder,
            kind == SPARSE or extras.is_sparse, extras.is_garbled, self.offset, 0 if kind in WITHOUT_CONTENT else size,
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
    """True where the checksum fits the block, its bytes as unsigned or, as in old tars, as signed."""
    if len(block) < BLOCK:
        return False
    try:
        stated = _number(block[148:156])
    except DamageError:
        return False
    others = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(others)
    return stated == unsigned or stated == unsigned - 256 * sum(byte > 127 for byte in others)


def _number(field: bytes) -> int:
    """A number in octal digits, or in base 256 where the first bit is set."""
    if field[0] & 0x80:
        rest = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        return rest - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else rest
    digits = _up_to_nul(field).strip()
    if not _OCTAL.fullmatch(digits):
        raise DamageError("a number that is none")
    return int(digits or b"0", 8)


def _size_in(block: bytes) -> int:
    size = _number(block[124:136])
    if size < 0:
        raise DamageError(f"a size of {size} bytes")
    return size


def _name_in(block: bytes) -> bytes:
    name, prefix = _up_to_nul(block[:100]), _up_to_nul(block[345:500])
    return prefix + b"/" + name if prefix and block[257:265] != GNU_MAGIC else name


def _up_to_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
