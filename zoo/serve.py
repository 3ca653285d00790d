"""`python -m zoo.serve FOLDER [--port 8000] -- COMMAND…`: FOLDER/images on the web while a command runs.

Owns the web that `zoo.write_world --layout laion` writes addresses of. Listens on 127.0.0.1 only, says nothing, and
ends with the command and its exit code. SIGTERM and SIGHUP go on to the command; Ctrl-C reaches it by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
USUAL_PORT = 8000
USAGE_ERROR, NOT_FOUND, KILLED = 2, 127, 128
"""Exit codes as shells have them; `KILLED` and the signal's number."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each kept-alive answer waits for an acknowledgement, 40 ms

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class has it
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are none of the command's business."""


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[int]:
    """The folder's files at `http://127.0.0.1:<port>/` while the block lasts; gives the port, chosen where it is 0.

    Raises `OSError` when the port is taken.
    """
    server = _Server((HOST, port), partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(command: Sequence[str]) -> int:
    """Run the command until it ends and return its exit code: 128 + N when signal number N ended it."""
    with subprocess.Popen(command) as process:  # noqa: S603  what the user asks for
        forward = (signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, lambda got, _: process.send_signal(got)) for number in forward}
        before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else KILLED - code


def main(argv: Sequence[str] | None = None) -> int:
    """Serve and run what the command line says; the command's exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    split = given.index("--") if "--" in given else len(given)
    own, command = given[:split], given[split + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m zoo.serve", usage="%(prog)s FOLDER [--port PORT] -- COMMAND...", description="Serve and run."
    )
    parser.add_argument("folder", type=Path, help="its folder images/ is served")
    parser.add_argument("--port", type=int, default=USUAL_PORT, help="%(default)s; 0 for a free one")
    options = parser.parse_args(own)
    images: Path = options.folder / "images"
    if not command:
        parser.error("no command: write it after --")
    if not images.is_dir():
        parser.error(f"{images} is no folder; make it with python -m zoo.write_world {options.folder} --layout laion")
    try:
        with serving(images, options.port):
            return run(command)
    except FileNotFoundError:
        print(f"{command[0]}: no such command", file=sys.stderr)
        return NOT_FOUND
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        text = "taken" if error.errno == errno.EADDRINUSE else "not allowed"
        print(f"port {options.port} on {HOST} is {text}: free it, or choose another with --port", file=sys.stderr)
        return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
