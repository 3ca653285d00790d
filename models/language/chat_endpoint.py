"""OpenAI's chat interface: one answer to a list of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from models.endpoint import Endpoint, LateAnswer, ServerFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.endpoint import Reply
    from models.placement import Placement
    from models.schemes.weights import Weights


_PING = {"messages": [{"role": "user", "content": "Say OK."}], "max_tokens": 1, "temperature": 0.0}
"""A request that every chat model can answer."""


class ChatAnswer(NamedTuple):
    """One answer with what the interface says of it beside the text."""

    text: str
    refusal: str | None
    """The model's own words in the field `refusal`, which replace an answer."""
    finish_reason: str | None
    """`stop`, `length`, `content_filter` …"""
    prompt_tokens: int
    completion_tokens: int


class ChatEndpoint:
    """One model at one address. `timeout_s` bounds the wait for an answer, each attempt anew."""

    def __init__(self, weights: Weights, placement: Placement, *, timeout_s: float = 120.0) -> None:
        """Open no connection yet."""
        self._endpoint = Endpoint(weights, placement, "chat/completions", "chat completion", timeout_s=timeout_s)

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> list[str]:
        """The text of each answer, in order. A request is the body without the model's name.

        An answer without text is empty. Raises what `Endpoint.send` raises, and ValueError for an answer of other form.
        """
        answers = self._endpoint.send([{"json": {"model": self._endpoint.model, **one}} for one in requests])
        return [self._text(answer) for answer in answers]

    def ask_each(self, requests: Sequence[Mapping[str, Any]]) -> list[ChatAnswer | ConnectionError | ValueError]:
        """As `ask`, but each request has its own outcome: an answer, or the error that it met.

        A ServerFault or a LateAnswer belongs to its request: the server answered another one. Any other ConnectionError
        is a fault of the server. Raises ConnectionError where it answers nothing at all, not even a request of two
        words.
        """
        replies = self._endpoint.send_each([{"json": {"model": self._endpoint.model, **one}} for one in requests])
        if replies and all(isinstance(one.problem, ServerFault | LateAnswer) for one in replies):
            (pinged,) = self._endpoint.send_each([{"json": {"model": self._endpoint.model, **_PING}}])
            if isinstance(pinged.problem, ConnectionError):
                raise pinged.problem
        return [self._outcome(one) for one in replies]

    def _outcome(self, reply: Reply) -> ChatAnswer | ConnectionError | ValueError:
        if reply.problem is not None:
            return reply.problem
        try:
            return self._answer(reply.answer)
        except ValueError as error:
            return error

    def _text(self, answer: Any) -> str:
        content = self._choice(answer)["message"]["content"]
        return "" if content is None else str(content)

    def _answer(self, answer: Any) -> ChatAnswer:
        choice, usage = self._choice(answer), answer.get("usage")
        refusal, finish = choice["message"].get("refusal"), choice.get("finish_reason")
        prompt, completion = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        return ChatAnswer(
            self._text(answer), str(refusal) if refusal else None, str(finish) if finish else None, prompt, completion
        )

    def _choice(self, answer: Any) -> Any:
        """The first choice of an answer, whose message has content, if only null."""
        try:
            choice = answer["choices"][0]
            choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise self._endpoint.malformed(answer) from None
        return choice


def _count(usage: Any, name: str) -> int:
    """A number of tokens that the server reports, or 0."""
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if type(found) is int and found >= 0 else 0
