"""Read files one after another as one file: an archive that was cut into pieces. Nothing is copied."""

from __future__ import annotations

import bisect
import io
import itertools
from typing import IO, TYPE_CHECKING

from fsspec.core import url_to_fs

if TYPE_CHECKING:
    from collections.abc import Sequence

BUFFER_BYTES = 16 << 10
"""Read at a time; headers of a tar lie far apart, so that more of it would seldom be used."""


class JoinedFile(io.RawIOBase):
    """The content of the pieces in their order. One piece is open at a time."""

    def __init__(self, urls: Sequence[str], sizes: Sequence[int]) -> None:
        super().__init__()
        self._urls = tuple(urls)
        self._ends = list(itertools.accumulate(sizes))
        self._at = 0
        self._open: tuple[int, IO[bytes]] | None = None

    def readable(self) -> bool:
        """True: it can be read."""
        return True

    def seekable(self) -> bool:
        """True: any place can be read next."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1] if self._ends else 0}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place that is read next."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        """Read up to the end of the piece at the present place."""
        piece = bisect.bisect_right(self._ends, self._at)
        if piece == len(self._ends):
            return 0
        start = self._ends[piece - 1] if piece else 0
        handle = self._handle(piece)
        handle.seek(self._at - start)
        data = handle.read(min(len(buffer), self._ends[piece] - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _handle(self, piece: int) -> IO[bytes]:
        if self._open is None or self._open[0] != piece:
            self._close_piece()
            fs, path = url_to_fs(self._urls[piece])
            is_local = "file" in fs.protocol
            opened = open(path, "rb", buffering=0) if is_local else fs.open(path, "rb")  # noqa: PTH123, SIM115  fsspec gives text paths
            self._open = (piece, opened)
        return self._open[1]

    def _close_piece(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Close the piece that is open."""
        self._close_piece()
        super().close()


def joined(urls: Sequence[str], sizes: Sequence[int]) -> IO[bytes]:
    """The pieces as one file, buffered."""
    return io.BufferedReader(JoinedFile(urls, sizes), BUFFER_BYTES)
