"""Read the body of an answer within bounds on its size and on the number of large bodies."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from stages.download.images import begins_as_image
from stages.download.status import DownloadFailed, LaionReject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stages.download.encoding import Decoder

    Enter = Callable[[], Awaitable[None]]
    """Waits for a place among the large bodies."""

DRAINED_BYTES = 16 << 10
"""An unwanted body up to this size is read to its end, as that keeps the connection for the next URL of the host."""
DRAINED_S = 0.5
LARGE_BYTES = 2 << 20
LARGE_AT_ONCE = 8
"""Bodies beyond `LARGE_BYTES` are held a few at a time: this bounds the memory, whatever the servers send."""
SNIFFED_BYTES = 32
"""So many bytes tell the format of an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """An image's bytes as the server sent them, content encoding undone."""

    data: bytes
    http_status: int
    url: str
    """Where it came from in the end."""
    kept_encoding: str = ""
    """A content encoding that the server named and that was not undone."""


class LargeGate:
    """A place among the large bodies, held from when a body proves large until it has been processed."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places, self._is_held = places, False

    async def enter(self, limit: asyncio.Timeout) -> None:
        """Wait for a place, once. The time limit, which is for the server, is paused meanwhile."""
        if self._is_held:
            return
        loop = asyncio.get_running_loop()
        left_s = (limit.when() or 0.0) - loop.time()
        limit.reschedule(None)
        await self._places.acquire()
        self._is_held = True
        limit.reschedule(loop.time() + left_s)

    def leave(self) -> None:
        """Give the place back, if there is one."""
        if self._is_held:
            self._places.release()
            self._is_held = False


async def read_body(response: aiohttp.ClientResponse, decoder: Decoder, most: int, doubted: str, enter: Enter) -> bytes:
    """The body, content encoding undone, of at most `most` bytes, both as sent and as unpacked.

    A body of the content type `doubted` is read only when it begins as an image. The place among the large bodies is
    taken when that many bytes have come, not when they are announced, so that a slow server does not delay others.
    """
    declared = response.content_length or 0
    if declared > most:
        raise DownloadFailed(LaionReject.TOO_LARGE, f"{declared} bytes, more than {most}", http_status=200)
    if 0 < declared <= LARGE_BYTES and decoder.is_plain and not doubted:
        return await response.read()  # the parser gives as much as was declared, and no more
    parts, sent, size = [], 0, 0
    async for chunk in response.content.iter_any():
        sent += len(chunk)
        part = decoder.decode(chunk, most - size + 1)
        size += len(part)
        if max(sent, size) > most:
            raise DownloadFailed(LaionReject.TOO_LARGE, f"more than {most} bytes", http_status=200)
        if size > LARGE_BYTES:
            await enter()
        parts.append(part)
        if doubted and size >= SNIFFED_BYTES:
            _check_image(parts, doubted)
            doubted = ""
    if doubted:
        _check_image(parts, doubted)
    decoder.finish()
    return b"".join(parts)


def _check_image(parts: list[bytes], kind: str) -> None:
    """Raise `DownloadFailed` unless the bytes, declared as something else, begin as an image does."""
    if not begins_as_image(b"".join(parts)[:SNIFFED_BYTES]):
        raise DownloadFailed(LaionReject.WRONG_CONTENT_TYPE, f"Content-Type {kind}", http_status=200)


async def drain(response: aiohttp.ClientResponse) -> None:
    """Read a small body to its end. One that is large, slow or of unknown length costs the connection."""
    size = response.content_length
    if size is None or size > DRAINED_BYTES or response.headers.get("Transfer-Encoding"):
        return
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(DRAINED_S):
            await response.content.read(DRAINED_BYTES)
