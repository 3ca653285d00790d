"""Undo the content encoding of a body as its bytes come in, never beyond the bytes that may be kept.

Requests ask for no encoding, so an encoded answer is often a mistake of the server. A body whose encoding is named
wrongly is taken as it is, as browsers and urllib do.
"""

from __future__ import annotations

import zlib
from typing import Any

from stages.download.status import DownloadFailed, LaionReject, bounded

_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (47, -15)}
"""zlib's names for what each content encoding may be, in the order they are tried."""
_NONE = frozenset({"", "identity", "none", "utf-8", "binary"})
"""No encodings, the last ones sent all the same."""


class Decoder:
    """Decodes the body of an HTTP answer, chunk by chunk.

    Knows gzip and deflate. A body that has neither, whatever its header says, is kept as it comes.
    """

    def __init__(self, header: str) -> None:
        """Prepare for the header `Content-Encoding`, empty when there is none."""
        names = [name for name in (part.strip().lower() for part in header.split(",")) if name not in _NONE]
        self._windows = next((list(_WINDOWS[name]) for name in names if name in _WINDOWS), [])
        self._zlib: Any = None
        self._held: bytes | None = b""
        self._size = 0
        self._named = bounded(", ".join(names), 40)
        self._try_next()

    def _try_next(self) -> None:
        self._zlib = zlib.decompressobj(self._windows.pop(0)) if self._windows else None

    @property
    def is_plain(self) -> bool:
        """True when the bytes are kept as they come."""
        return self._zlib is None

    @property
    def kept_encoding(self) -> str:
        """The encoding that the server named and that was not undone; empty when there is none."""
        return self._named if self.is_plain else ""

    def decode(self, chunk: bytes, most: int) -> bytes:
        """The chunk, decoded to at most `most` bytes. Raises `DownloadFailed` when its encoding is broken."""
        self._size += len(chunk)
        if self._zlib is not None and self._held is not None:
            self._held += chunk
        while self._zlib is not None:
            try:
                part: bytes = self._zlib.decompress(chunk, most)
            except zlib.error as error:
                if self._held is None:
                    raise DownloadFailed(LaionReject.BROKEN_ENCODING, str(error), http_status=200) from None
                self._try_next()
                chunk = self._held
                continue
            if part:
                self._held = None
            return part
        return chunk

    def finish(self) -> None:
        """Raise `DownloadFailed` when the body ended before its encoding did."""
        if self._zlib is not None and self._size and not self._zlib.eof:
            raise DownloadFailed(LaionReject.BROKEN_ENCODING, "compressed body is cut off", http_status=200)
