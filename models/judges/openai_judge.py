"""A vision-language model behind OpenAI's chat interface as a judge of edits. Images travel inside the request.

As with `models.language.openai_text`, what it answers is not pinned: a server may change its weights under one name.

Source  the interface's documentation: a model that refuses has its words in `message.refusal`; an answer that a filter
stopped has the finish reason `content_filter`; a request that a filter stopped is HTTP 400 with the code
`content_filter` (Azure OpenAI) or `content_policy_violation` (OpenAI).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb, same_length
from models.data_urls import data_url
from models.endpoint import LateAnswer, RefusedRequest, ServerFault
from models.judges.prompt import content, prompt_sha256, schema
from models.language.chat_endpoint import ChatEndpoint
from models.protocols import JudgeReply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.language.chat_endpoint import ChatAnswer
    from models.placement import Placement
    from models.protocols import JudgeRequest
    from models.schemes.weights import Weights

POLICY_CODES = frozenset({"content_filter", "content_policy_violation"})
FILTERED = "content_filter"


class OpenaiJudge:
    """An EditJudge that asks an endpoint, one user turn with both images (JPEGs as data URLs).

    The server is asked to hold the reply to the schema (`response_format`), with temperature 0 and the request's seed;
    whether it does is its own affair, and every reply is checked. Images longer than `max_side_px` are made smaller.
    """

    def __init__(
        self, weights: Weights, placement: Placement, *, max_new_tokens: int = 400, max_side_px: int = 1024,
        timeout_s: float = 120.0,
    ) -> None:  # fmt: skip
        """Open no connection yet."""
        self._endpoint = ChatEndpoint(weights, placement, timeout_s=timeout_s)
        self._max_new_tokens, self._max_side_px = max_new_tokens, max_side_px
        self.prompt_sha256 = prompt_sha256()

    def judge(
        self, requests: Sequence[JudgeRequest], *, seeds: Sequence[int]
    ) -> list[JudgeReply | ConnectionError | ValueError]:
        """One reply a request. `no_reply` for one that fails or is late while the server answers others.

        The error of a request is in its place: a ConnectionError where the server is busy or away, a ValueError where
        it refuses for another reason than the content, or answers in another form. Raises ConnectionError where the
        server answers nothing at all, ModelError for a refused key or an unknown model.
        """
        same_length(requests=requests, seeds=seeds)
        bodies = [self._body(request, seed) for request, seed in zip(requests, seeds, strict=True)]
        return [_reply(outcome) for outcome in self._endpoint.ask_each(bodies)]

    def _body(self, request: JudgeRequest, seed: int) -> dict[str, Any]:
        before, after = (self._part(image) for image in as_rgb([request.source, request.edited]))
        form = {"name": "judgement", "schema": schema(), "strict": True}
        return {
            "messages": [{"role": "user", "content": content(request, before, after)}],
            "max_tokens": self._max_new_tokens, "temperature": 0.0, "seed": seed,
            "response_format": {"type": "json_schema", "json_schema": form},
        }  # fmt: skip

    def _part(self, image: Image) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": data_url(image, self._max_side_px)}}


def _reply(outcome: ChatAnswer | ConnectionError | ValueError) -> JudgeReply | ConnectionError | ValueError:
    """The outcome of one request as a reply, or its error where that says nothing of the edit."""
    if isinstance(outcome, ServerFault | LateAnswer):
        return JudgeReply("", "no_reply")
    if isinstance(outcome, RefusedRequest) and outcome.code in POLICY_CODES:
        return JudgeReply(str(outcome), "refused")
    if isinstance(outcome, ConnectionError | ValueError):
        return outcome
    tokens = outcome.prompt_tokens, outcome.completion_tokens
    if outcome.refusal is not None or outcome.finish_reason == FILTERED:
        return JudgeReply(outcome.refusal or outcome.text, "refused", *tokens)
    return JudgeReply(outcome.text, "text", *tokens)
