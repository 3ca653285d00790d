"""A web server on loopback addresses that behaves well, slowly or badly, for `run.py`. A process of its own.

`/<n>.jpg` is image n; what goes wrong with it in the failing scenario follows from n alone, so that both sides of the
comparison meet the same web. Costs about 50 µs a request, which comes out of the cores that both sides share.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

HOSTS = tuple(f"127.0.0.{n}" for n in range(1, 33))
"""As many hosts as there are addresses: in a table of the web's images, neighbours are seldom of one host."""
LATENCY_S = 0.05
BYTES_A_SECOND = 1_000_000
PIECE_BYTES = 16 << 10
FAILURES = ("404", "500", "reset", "silent", "circle", "page")
FAILING_FRAC = 0.3


def failure_of(number: int) -> str:
    """The fault of image `number` in the failing scenario, or nothing."""
    place = (number * 2654435761) % 1000
    share = int(1000 * FAILING_FRAC / len(FAILURES))
    return FAILURES[place // share] if place < share * len(FAILURES) else ""


def reply(status: str, kind: str, body: bytes, extra: str = "") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class Server(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, images: list[bytes], scenario: str) -> None:
        self._images, self._scenario = images, scenario
        self._data = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request whose headers are there. Requests have no bodies."""
        self._data += data
        while b"\r\n\r\n" in self._data:
            request, _, self._data = self._data.partition(b"\r\n\r\n")
            self._answer(request.split(b" ", 2)[1].decode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is being sent."""
        del exc
        for task in self._tasks:
            task.cancel()

    def _answer(self, path: str) -> None:
        number = int(path.strip("/").partition(".")[0])
        if self._scenario == "failing" and failure_of(number):
            self._fail(failure_of(number), path)
        elif self._scenario == "slow":
            task = asyncio.get_running_loop().create_task(self._trickle(self._good(number)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._transport.write(self._good(number))

    def _good(self, number: int) -> bytes:
        return self._images[number % len(self._images)]

    def _fail(self, failure: str, path: str) -> None:
        if failure == "404":
            self._transport.write(reply("404 Not Found", "text/html", b"<h1>Not found</h1>"))
        elif failure == "500":
            self._transport.write(reply("500 Internal Server Error", "text/html", b"<h1>Sorry</h1>"))
        elif failure == "reset":
            self._transport.abort()
        elif failure == "circle":
            self._transport.write(reply("302 Found", "text/html", b"", f"Location: {path}\r\n"))
        elif failure == "page":
            self._transport.write(reply("200 OK", "image/jpeg", b"<html>this picture has moved</html>" * 20))

    async def _trickle(self, answer: bytes) -> None:
        await asyncio.sleep(LATENCY_S)
        for start in range(0, len(answer), PIECE_BYTES):
            self._transport.write(answer[start : start + PIECE_BYTES])
            await asyncio.sleep(PIECE_BYTES / BYTES_A_SECOND)


async def serve(images: list[bytes], scenario: str, port: int) -> None:
    """Serve until a signal to stop."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(images, scenario), list(HOSTS), port, backlog=1024)
    loop.add_signal_handler(signal.SIGTERM, server.close)
    print("ready", flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await server.serve_forever()


def main() -> None:
    """Serve the folder's images as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("scenario", choices=("healthy", "slow", "failing"))
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    images = [reply("200 OK", "image/jpeg", path.read_bytes()) for path in sorted(given.folder.glob("*.jpg"))]
    asyncio.run(serve(images, given.scenario, given.port))


if __name__ == "__main__":
    main()
