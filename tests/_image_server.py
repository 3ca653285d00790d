"""A server with OpenAI's interface for image edits on the loopback: it answers by a function and keeps the requests."""

import email
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ImageServer:
    """`answer(form)` gives (status, body to send). `asked` holds (path, headers, form) of every request."""

    def __init__(self, answer):
        self.answer, self.asked, self.port = answer, [], 0

    def model_id(self, name):
        return f"openai:{name}@http://127.0.0.1:{self.port}/v1"


def form_of(headers, body):
    """The fields of a multipart body, bytes by name."""
    message = email.message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
    parts = message.get_payload()
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


@contextmanager
def image_server(answer):
    server = ImageServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            form = form_of(self.headers, body)
            server.asked.append((self.path, dict(self.headers), form))
            status, answer = server.answer(form)
            payload = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
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
