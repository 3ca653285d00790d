"""OpenAI's chat interface: one answer to a list of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.placement import Placement
    from models.schemes.weights import Weights


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

    def _text(self, answer: Any) -> str:
        try:
            content = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise self._endpoint.malformed(answer) from None
        return "" if content is None else str(content)
