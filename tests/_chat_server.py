"""A server with OpenAI's chat interface on the loopback: it answers by a given function and keeps the requests."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text):
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


class ChatServer:
    """`answer(body)` gives (status, body to send, headers). `asked` holds (path, headers, body) of every request."""

    def __init__(self, answer):
        self.answer, self.asked, self.most_at_once = answer, [], 0
        self.at_once, self.lock = 0, threading.Lock()

    @property
    def model_id(self):
        return f"openai:tiny@http://127.0.0.1:{self.port}/v1"


@contextmanager
def chat_server(answer):
    server = ChatServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.asked.append((self.path, dict(self.headers), body))
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            status, answer, *headers = server.answer(body)
            with server.lock:
                server.at_once -= 1
            payload = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
