"""A server with OpenAI's interface on the loopback: it answers by a given function and keeps the requests."""

import email
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text):
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


class OpenAIServer:
    """`answer(request)` gives (status, body to send) or (status, body to send, headers).

    `asked` holds (path, headers, request) of every request; `most_at_once` counts those that were open together.
    """

    def __init__(self, answer):
        self.answer, self.asked, self.most_at_once, self.port = answer, [], 0, 0
        self.at_once, self.lock = 0, threading.Lock()

    @property
    def model_id(self):
        return self.model_id_of("tiny")

    def model_id_of(self, name):
        return f"openai:{name}@http://127.0.0.1:{self.port}/v1"


def chat_server(answer):
    """A request is the JSON body of a chat."""
    return _openai_server(answer, lambda _headers, body: json.loads(body))


def image_server(answer):
    """A request is the form of an image edit: bytes by the field's name."""
    return _openai_server(answer, _form)


def _form(headers, body):
    message = email.message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
    parts = message.get_payload()
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


@contextmanager
def _openai_server(answer, read_request):
    server = OpenAIServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = read_request(self.headers, body)
            with server.lock:
                server.asked.append((self.path, dict(self.headers), request))
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            status, answer, *headers = server.answer(request)
            with server.lock:
                server.at_once -= 1
            payload = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            with suppress(ConnectionError):  # a client that no longer waits
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
