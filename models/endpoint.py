"""A server with OpenAI's interface (vLLM, llama.cpp, SGLang, Ollama, hosted ones): requests, retries, errors.

The key comes from the environment and is in no message, record or repr. Retries are few, and only for passing faults:
no answer, too many requests, a server's own error. Redirects are not followed: the key is for one address.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.placement import Placement
    from models.schemes.weights import Weights

KEY_VARIABLE = "OPENAI_API_KEY"
ATTEMPTS = 4
WAIT_S = 0.5
"""Before the second attempt; doubled before each further one, unless the server says how long."""
LONGEST_WAIT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})
"""HTTP statuses worth another attempt."""
LATE = frozenset({408, 504})
"""Those of them by which a server, or one before it, says that a request took too long."""
SETUP = {
    401: f"the key is refused; set {KEY_VARIABLE}",
    402: "the account has no credit left; top it up",
    403: f"the key may not use it; set another {KEY_VARIABLE}",
    404: "address or model is unknown; correct the model id",
}
SHOWN_CHARS = 200
"""Of a text from outside, in a message."""
SHOWN_BYTES = 4096
"""Of a body, before white space and the key are taken out of it."""
MAX_ANSWER_BYTES = 128 << 20
"""Longest answer that is read: more than the largest image takes."""


class RefusedRequest(ValueError):
    """A request that the server does not carry out, as it is. `code` is what OpenAI's interface calls the reason."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class ServerFault(ConnectionError):
    """A request at which the server failed at the last attempt (HTTP 500)."""


class LateAnswer(ConnectionError):
    """A request that was not answered in time at the last attempt (`timeout_s`, HTTP 408 or 504)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of one request: the JSON of its answer, or why there is none. `seconds` counts all attempts.

    The problem is a RefusedRequest, a ConnectionError where no answer came, or a ValueError for one that is no JSON.
    """

    answer: Any
    problem: ValueError | ConnectionError | None
    seconds: float


class _Response(NamedTuple):
    """A response that was read to its end."""

    status: int
    retry_after: str | None
    body: bytes

    @property
    def text(self) -> str:
        return self.body[:SHOWN_BYTES].decode("utf-8", "replace")


class Endpoint:
    """One path of one server. `timeout_s` bounds the wait for an answer, each attempt anew."""

    def __init__(self, weights: Weights, placement: Placement, path: str, answer: str, *, timeout_s: float) -> None:
        """Open no connection yet.

        `path` follows the address of the weights: `chat/completions`. `answer` is what messages call an answer of it.
        """
        import httpx2

        self._answer_name = answer
        self.model, self.url = str(weights.revision), f"{weights.location}/{path}"
        self._key = os.environ.get(KEY_VARIABLE, "")
        self._in_flight = placement.batch_size
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=self._in_flight),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            follow_redirects=False,
        )

    def send(self, requests: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The JSON of each answer, in order. `placement.batch_size` requests are in flight at once.

        A request has the arguments of one POST: `json`, or `data` and `files`. Raises ConnectionError when the attempts
        are used up, ModelError for a refused key or an unknown model, RefusedRequest for any other refusal.
        """
        if not requests:
            return []
        with ThreadPoolExecutor(min(self._in_flight, len(requests))) as pool:
            return list(pool.map(self._answer, requests))

    def send_each(self, requests: Sequence[Mapping[str, Any]]) -> list[Reply]:
        """As `send`, but each request has a reply of its own, so that one without an answer costs no other.

        Raises ModelError for a refused key or an unknown model. Whether a server that answers no request is out of
        order is for the caller to say.
        """
        if not requests:
            return []
        with ThreadPoolExecutor(min(self._in_flight, len(requests))) as pool:
            return list(pool.map(self._reply, requests))

    def malformed(self, answer: Any) -> ValueError:
        """The error for an answer of another form than asked for."""
        return ValueError(f"{self.url}: no {self._answer_name} came back: {self._shown(str(answer))}")

    def _reply(self, request: Mapping[str, Any]) -> Reply:
        began = time.monotonic()
        answer, problem = None, None
        try:
            answer = self._answer(request)
        except (ValueError, ConnectionError) as error:
            problem = error
        return Reply(answer=answer, problem=problem, seconds=time.monotonic() - began)

    def _answer(self, request: Mapping[str, Any]) -> Any:
        response = self._post(request)
        if response.status in SETUP:
            raise ModelError(f"{self.url}: HTTP {response.status}: {SETUP[response.status]}")
        if response.status != 200:
            message = f"{self.url}: HTTP {response.status}: {self._shown(response.text)}"
            raise RefusedRequest(message, _error_code(response.body))
        try:
            return json.loads(response.body)
        except (ValueError, RecursionError):
            raise self.malformed(response.text) from None

    def _post(self, request: Mapping[str, Any]) -> _Response:
        """The first response that is not a passing fault.

        Raises ConnectionError after the last attempt, ValueError for a response that is too long.
        """
        import httpx2

        problem, fault = "", ConnectionError
        for attempt in range(ATTEMPTS):
            wait_s = WAIT_S * 2**attempt
            try:
                response = self._response(request)
                if response.status not in PASSING:
                    return response
                problem = f"HTTP {response.status}"
                fault = _fault_of(response.status)
                wait_s = _asked_wait_s(response.retry_after) or wait_s
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                problem = f"{type(error).__name__}: {self._shown(str(error))}"
                fault = LateAnswer if isinstance(error, httpx2.ReadTimeout) else ConnectionError
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(wait_s, LONGEST_WAIT_S))
        raise fault(f"{self.url}: no answer in {ATTEMPTS} attempts; last: {problem}")

    def _response(self, request: Mapping[str, Any]) -> _Response:
        body = bytearray()
        with self._client.stream("POST", self.url, **request) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise ValueError(f"{self.url}: the answer has more than {MAX_ANSWER_BYTES} bytes")
            return _Response(response.status_code, response.headers.get("retry-after"), bytes(body))

    def _shown(self, text: str) -> str:
        """The beginning of a message from outside, on one line, without the key should it be quoted there."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:SHOWN_CHARS]


def _fault_of(status: int) -> type[ConnectionError]:
    """The kind of a fault that did not pass."""
    return ServerFault if status == 500 else LateAnswer if status in LATE else ConnectionError


def _asked_wait_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, or None for a date or nonsense."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None


def _error_code(body: bytes) -> str | None:
    """`error.code` of an answer that reports an error, or None where it has none."""
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return code if isinstance(code, str) else None
