"""A Hugging Face Hub on 127.0.0.1, with the four requests that downloads of a repository at a commit consist of."""

import contextlib
import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Hub(ThreadingHTTPServer):
    """`repositories[name]` maps file names to contents, and `licences[name]` is what its card states.

    `about`, where it is set, is the answer to every question about a repository.
    """

    daemon_threads = True

    def __init__(self, repositories, licences=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = repositories
        self.licences = dict(licences)
        self.sent = Counter()
        self.about = None
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self.describe("/".join(parts[2:4]), *parts[4:])
        else:
            self.give_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def describe(self, name, question="revision", commit="", *_folder):
        files = self.server.repositories.get(name)
        if self.server.about is not None:
            return self.answer(200, self.server.about)
        if files is None:
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if question == "tree":
            tree = [{"type": "file", "path": f, "size": len(c), "oid": etag(c)} for f, c in files.items()]
            return self.answer(200, json.dumps(tree).encode())
        siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
        card = {"license": self.server.licences[name]} if name in self.server.licences else {}
        about = {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "cardData": card}
        return self.answer(200, json.dumps(about).encode())

    def give_file(self, name, commit, file):
        content = self.server.repositories.get(name, {}).get(file)
        if content is None:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        if self.command == "GET":
            self.server.sent[file] += 1
        return self.answer(200, content, {"ETag": f'"{etag(content)}"', "X-Repo-Commit": commit})

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **dict(headers)}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def etag(content):
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def hub(repositories, licences=()):
    served = Hub(repositories, licences)
    try:
        yield served
    finally:
        served.shutdown()
        served.server_close()
