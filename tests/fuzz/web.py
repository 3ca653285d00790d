"""A web server of raw sockets in a process of its own: each path gives the bytes of its case."""

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time

from fuzz.child import HOSTS


def free_port(rng):
    """A port that is free on both addresses."""
    while True:
        port = rng.randrange(20_000, 32_000)
        with contextlib.suppress(OSError):
            for listener in listen(port):
                listener.close()
            return port


def listen(port):
    return [socket.create_server((host, port), backlog=128) for host in HOSTS]


def answer(*pieces, times=1, pause_s=0.0, end="keep"):
    """The answer of a path: pieces of bytes with pauses before them, the last one repeated. Then the connection is
    left (`keep`), closed or reset.
    """
    return {"pieces": list(pieces), "times": times, "pause_s": pause_s, "end": end}


def image_answer(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", "Content-Type: image/jpeg", f"Content-Length: {len(body)}", *headers]
    return answer("\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body)


NOT_FOUND = answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def save(answers, folder):
    plain = {path: a | {"pieces": [base64.b64encode(p).decode() for p in a["pieces"]]} for path, a in answers.items()}
    (folder / "answers.json").write_text(json.dumps(plain))


def load(folder):
    plain = json.loads((folder / "answers.json").read_text())
    return {path: a | {"pieces": [base64.b64decode(p) for p in a["pieces"]]} for path, a in plain.items()}


@contextlib.contextmanager
def serving(folder, port):
    """Serve the answers of the folder for the block, where the case has a port."""
    if not port:
        yield
        return
    listeners = listen(port)
    pid = os.fork()
    if pid == 0:
        answers = load(folder)
        for listener in listeners:
            threading.Thread(target=_accept, args=(listener, answers), daemon=True).start()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.alarm(600)
        while True:
            signal.pause()
    for listener in listeners:
        listener.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _accept(listener, answers):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, answers), daemon=True).start()


def _serve(connection, answers):
    with connection, contextlib.suppress(OSError):
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = connection.recv(65_536)
                if not data:
                    return
                rest += data
            head, _, rest = rest.partition(b"\r\n\r\n")
            path = head.split(b" ")[1].decode("latin-1") if head.count(b" ") > 1 else "/"
            found = answers.get(path, NOT_FOUND)
            for piece in found["pieces"][:-1] + found["pieces"][-1:] * found["times"]:
                time.sleep(found["pause_s"])
                connection.sendall(piece)
            if found["end"] == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if found["end"] != "keep":
                return
