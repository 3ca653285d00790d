"""A small web on 127.0.0.1 for the tests of the downloader: a thread with a given answer for each path."""

import contextlib
import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """The answer of a path. `raw` bytes are sent unchanged, in pieces as a body, with `pause_s` after each."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=lambda: {"Content-Type": "image/jpeg"})
    has_length: bool = True
    raw: bytes | None = None
    pause_s: float = 0.0
    pieces: int = 1


class Web(ThreadingHTTPServer):
    """`answers[path]` is an Answer, or a list of them for one request after another. Other paths are 404."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answers=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = dict(answers or {})
        self.asked = Counter()
        self.headers_seen = []
        self.ports = set()
        self.times = {}
        self.most_at_once = self.at_once = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path="/", host="127.0.0.1"):
        return f"http://{host}:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """Clients that go away are what some tests are about."""

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        web = self.server
        with web.lock:
            number = web.asked[self.path]
            web.asked[self.path] += 1
            web.headers_seen.append(dict(self.headers))
            web.ports.add(self.client_address[1])
            web.times.setdefault(self.path, []).append(time.monotonic())
            web.at_once += 1
            web.most_at_once = max(web.most_at_once, web.at_once)
        try:
            found = web.answers.get(self.path, Answer(b"not found", 404, {"Content-Type": "text/html"}))
            self.answer(found[min(number, len(found) - 1)] if isinstance(found, list) else found)
        finally:
            with web.lock:
                web.at_once -= 1

    def answer(self, answer):
        if answer.raw is not None:
            self.close_connection = True
            self.write(answer.raw, answer)
            return
        time.sleep(answer.pause_s)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            for one in value if isinstance(value, list) else [value]:
                self.send_header(name, one)
        if answer.has_length:
            self.send_header("Content-Length", str(len(answer.body)))
        else:
            self.close_connection = True
        self.end_headers()
        self.write(answer.body, answer)

    def write(self, data, answer):
        size = -(-len(data) // answer.pieces) or 1
        for start in range(0, len(data), size):
            self.wfile.write(data[start : start + size])
            time.sleep(answer.pause_s if answer.pieces > 1 or answer.raw is not None else 0)


class FolderStore:
    """The methods of `ctx.store`, over a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.scratch().mkdir(exist_ok=True)

    @contextlib.contextmanager
    def fetch(self, name):
        path = self.folder / name
        yield path if path.exists() else None

    def put(self, local, name):
        return local.replace(self.folder / name)

    def keep(self, local, name):
        return hashlib.sha256(local.read_bytes()).hexdigest()

    def remove(self, name):
        (self.folder / name).unlink(missing_ok=True)

    def scratch(self):
        return self.folder / "scratch"
