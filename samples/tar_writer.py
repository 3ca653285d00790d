"""Writes tars whose bytes depend on the names and contents of their members alone: no time, no owner.

The bytes are those of `tarfile` in the USTAR format. Only headers of usual members are made here, since `tarfile`
takes longer for a header than for the content of most members.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

MODE = 0o644
BUFFER_BYTES = 1 << 20
_SIZE = slice(124, 136)
_CHECKSUM = slice(148, 156)
_MOST_BYTES = 8**11
"""Sizes from here on do not fit into the header. `tarfile` raises `ValueError` for them."""


class TarWriter:
    """Writes members to one tar, in the order in which they are added. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=BUFFER_BYTES)
        self._num_bytes = 0

    def add(self, name: str, content: bytes | pa.Buffer) -> None:
        """Add a file. Raises `ValueError` for a name that is too long and for a content of 8 GiB or more."""
        size = len(content) if isinstance(content, bytes) else content.size
        self._write(_header(name, size))
        self._write(content)
        self._write(bytes(-size % tarfile.BLOCKSIZE))

    def _write(self, content: bytes | pa.Buffer) -> None:
        self._num_bytes += self._file.write(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None:
                self._write(bytes(2 * tarfile.BLOCKSIZE))
                self._write(bytes(-self._num_bytes % tarfile.RECORDSIZE))
        finally:
            self._file.close()


def _tarfile_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, MODE
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")


_EMPTY = _tarfile_header("", 0)
_EMPTY_SUM = sum(_EMPTY) - sum(_EMPTY[_SIZE]) - sum(_EMPTY[_CHECKSUM]) + 8 * ord(" ")
"""Sum of all bytes but name, size and checksum, which counts as spaces."""


def _header(name: str, size: int) -> bytes:
    if not name.isascii() or len(name) > tarfile.LENGTH_NAME or size >= _MOST_BYTES:
        return _tarfile_header(name, size)
    raw, octal = name.encode(), b"%011o\0" % size
    head = bytearray(_EMPTY)
    head[: len(raw)] = raw
    head[_SIZE] = octal
    head[_CHECKSUM] = b"%06o\0 " % (_EMPTY_SUM + sum(raw) + sum(octal))
    return bytes(head)
