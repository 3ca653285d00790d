"""Rewrite heads of HTTP answers that browsers read and aiohttp's parser refuses, before it parses them.

Servers send headers of any size and number, names with spaces, lines without a colon, a length twice, or a length
and chunks. `PlainResponses` sees the bytes of a connection first. It holds an answer's head, up to `MAX_HEAD_BYTES`,
until it is complete, and passes on a plain one: the status line, and only those headers that are used here. The body
passes unchanged. It also records for the current attempt that the server has answered.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 256 << 10
"""Status line and headers of one answer, with those of the `1xx` answers before it."""
_KEPT_FIRST = (b"location", b"content-type", b"retry-after")
"""Headers of which the first counts, as in Python's http.client."""
_KEPT_ALL = (b"x-robots-tag", b"content-encoding")
_STATUS = re.compile(rb"[Hh][Tt][Tt][Pp]/(\d+)(?:\.(\d+))?[ \t]+(\d{3})(?!\d)")
_PREFIX = b"http/"
_END = re.compile(rb"\n\r?\n")
_CONTROL_TO_SPACE = bytes(c if c >= 32 and c != 127 else 32 for c in range(256))
_LENGTH = re.compile(rb"\d{1,18}")


class Answered:
    """Whether the server has sent any byte in an attempt."""

    def __init__(self) -> None:
        self.is_any = False


ANSWERED: ContextVar[Answered | None] = ContextVar("answered", default=None)
"""Of the attempt that the running task makes."""


class PlainResponses(ResponseHandler):
    """aiohttp's protocol of a connection, with the head of every answer made plain before it is parsed."""

    _head: bytearray | None = None
    """The bytes of a head that is not complete; None while a body passes."""
    _interim_bytes = 0
    _answered: Answered | None = None

    def set_response_params(self, **params: Any) -> None:
        """Expect the head of an answer: aiohttp calls this in the task that is about to ask."""
        self._head, self._interim_bytes, self._answered = bytearray(), 0, ANSWERED.get()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to a body. Hold what belongs to a head until the head is complete."""
        if data and self._answered is not None:
            self._answered.is_any = True
        if self._head is None or not data:
            super().data_received(data)
            return
        head = self._head
        searched = len(head)
        head += data if head else data.lstrip(b"\r\n")
        while (found := _END.search(head, max(0, searched - 2))) is not None:
            if found.end() + self._interim_bytes > MAX_HEAD_BYTES:
                break
            plain, is_interim = plain_head(bytes(head[: found.end()]))
            if not is_interim:
                self._head = None
                super().data_received(plain)
                if found.end() < len(head):  # apart: what follows a complete answer would cost the answer too
                    super().data_received(bytes(head[found.end() :]))
                return
            self._interim_bytes += found.end()
            del head[: found.end()]
            searched = 0
        if not _PREFIX.startswith(head[: len(_PREFIX)].lower()):
            self._head = None
            super().data_received(bytes(head))  # no HTTP: the parser says so
        elif len(head) + self._interim_bytes > MAX_HEAD_BYTES:
            self._refuse()

    def _refuse(self) -> None:
        if self.transport is not None:
            self.transport.close()
        self.set_exception(HttpProcessingError(message=f"more than {MAX_HEAD_BYTES} bytes of headers"))


class PlainConnector(aiohttp.TCPConnector):
    """A connector whose connections read answers with `PlainResponses`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: Callable[..., ResponseHandler] = PlainResponses
        self._factory = partial(made, loop=self._loop)


def plain_head(head: bytes) -> tuple[bytes, bool]:
    """(a head that any parser takes, True for a `1xx` answer). Bytes that are no head stay as they are."""
    lines = [line.rstrip(b"\r") for line in head.split(b"\n")]
    status = _STATUS.match(lines[0])
    if status is None:
        return head, False
    values = _values_of(lines[1:])
    code = int(status[3])
    minor = 0 if (int(status[1][:9]), int((status[2] or b"0")[:9])) in ((1, 0), (0, 9)) else 1
    plain = [b"HTTP/1.%d %03d -" % (minor, code)]
    plain += [name + b": " + values[name][0] for name in _KEPT_FIRST if name in values]
    plain += [name + b": " + value for name in _KEPT_ALL for value in values.get(name, ())]
    plain += _framing(values)
    return b"\r\n".join(plain) + b"\r\n\r\n", 100 <= code < 200 and code != 101


def _values_of(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Values by lower-case name. A line that starts with a blank continues the value before it."""
    values: defaultdict[bytes, list[bytes]] = defaultdict(list)
    last: list[bytes] | None = None
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if last:
                last[-1] += b" " + line.translate(_CONTROL_TO_SPACE).strip()
            continue
        name, colon, value = line.partition(b":")
        last = values[name.strip().lower()] if colon else None
        if last is not None:
            last.append(value.translate(_CONTROL_TO_SPACE).strip())
    return values


def _framing(values: dict[bytes, list[bytes]]) -> list[bytes]:
    """The headers that say where the body ends, and whether the connection is kept afterwards.

    Chunks take precedence over a length, and the first length over others, as in http.client. The connection is
    kept only where all of them agree.
    """
    coding = _tokens(values.get(b"transfer-encoding", ()))
    lengths = _tokens(values.get(b"content-length", ()))
    connection = _tokens(values.get(b"connection", ()))
    is_chunked = coding[-1:] == [b"chunked"]
    is_plain = len(set(lengths)) + bool(coding) <= 1
    framing = [b"transfer-encoding: chunked"] if is_chunked else []
    if lengths and not is_chunked:
        is_number = _LENGTH.fullmatch(lengths[0]) is not None
        framing += [b"content-length: " + lengths[0]] if is_number else []
        is_plain = is_plain and is_number
    if not is_plain or b"close" in connection:
        framing.append(b"connection: close")
    elif b"keep-alive" in connection:
        framing.append(b"connection: keep-alive")
    return framing


def _tokens(values: Any) -> list[bytes]:
    return [token for token in (part.strip().lower() for value in values for part in value.split(b",")) if token]
