"""A server with OpenAI's interface (vLLM, llama.cpp, SGLang, Ollama, hosted ones): requests, retries, errors.

The key comes from the environment and is in no message, record or repr. Retries are few, and only for passing faults:
no answer, too many requests, a server's own error. Redirects are not followed: the key is for one address.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

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
SETUP = {
    401: f"the key is refused; set {KEY_VARIABLE}",
    403: f"the key may not use it; set another {KEY_VARIABLE}",
    404: "address or model is unknown; correct the model id",
}


class RefusedRequest(ValueError):
    """A request that the server does not carry out, as it is. `code` is what OpenAI's interface calls the reason."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


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

    def send_each(self, requests: Sequence[Mapping[str, Any]]) -> list[Any]:
        """As `send`, but a request without an answer has its ConnectionError or RefusedRequest in the place of one."""
        if not requests:
            return []
        with ThreadPoolExecutor(min(self._in_flight, len(requests))) as pool:
            return list(pool.map(self._outcome, requests))

    def malformed(self, answer: Any) -> ValueError:
        """The error for an answer of another form than asked for."""
        return ValueError(f"{self.url}: no {self._answer_name} came back: {self._shown(str(answer))}")

    def _outcome(self, request: Mapping[str, Any]) -> Any:
        try:
            return self._answer(request)
        except (ConnectionError, RefusedRequest) as error:
            return error

    def _answer(self, request: Mapping[str, Any]) -> Any:
        response = self._post(request)
        if response.status_code in SETUP:
            raise ModelError(f"{self.url}: HTTP {response.status_code}: {SETUP[response.status_code]}")
        if response.status_code != 200:
            message = f"{self.url}: HTTP {response.status_code}: {self._shown(response.text)}"
            raise RefusedRequest(message, _error_code(response.text))
        try:
            return response.json()
        except ValueError:
            raise self.malformed(response.text) from None

    def _post(self, request: Mapping[str, Any]) -> Any:
        """The first response that is not a passing fault. Raises ConnectionError after the last attempt."""
        import httpx2

        problem = ""
        for attempt in range(ATTEMPTS):
            wait_s = WAIT_S * 2**attempt
            try:
                response = self._client.post(self.url, **request)
                if response.status_code not in PASSING:
                    return response
                problem = f"HTTP {response.status_code}"
                wait_s = _asked_wait_s(response.headers.get("retry-after")) or wait_s
            except httpx2.TransportError as error:
                problem = f"{type(error).__name__}: {self._shown(str(error))}"
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(wait_s, LONGEST_WAIT_S))
        raise ConnectionError(f"{self.url}: no answer in {ATTEMPTS} attempts; last: {problem}")

    def _shown(self, text: str) -> str:
        """The beginning of a message from outside, on one line, without the key should it be quoted there."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:200]


def _asked_wait_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, or None for a date or nonsense."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None


def _error_code(body: str) -> str | None:
    """`error.code` of an answer that reports an error, or None where it has none."""
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return code if isinstance(code, str) else None
