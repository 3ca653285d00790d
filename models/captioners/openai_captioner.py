"""A vision-language model behind OpenAI's chat interface as a captioner. Images travel inside the request.

As with `models.language.openai_text`, what it answers is not pinned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb
from models.captioners.chat import PROMPT
from models.data_urls import data_url
from models.language.chat_endpoint import ChatEndpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.schemes.weights import Weights


class OpenaiCaptioner:
    """A Captioner that asks an endpoint, one user turn with the image (a JPEG as data URL) and `prompt`.

    Images longer than `max_side_px` are made smaller first: servers bill and refuse by size.
    """

    def __init__(
        self, weights: Weights, placement: Placement, *, prompt: str = PROMPT, max_new_tokens: int = 80,
        max_side_px: int = 1024, timeout_s: float = 120.0,
    ) -> None:  # fmt: skip
        """Open no connection yet."""
        self._endpoint = ChatEndpoint(weights, placement, timeout_s=timeout_s)
        self._prompt, self._max_new_tokens, self._max_side_px = prompt, max_new_tokens, max_side_px

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image, on one line. Raises what `ChatEndpoint.ask` raises."""
        answers = self._endpoint.ask([self._request(image) for image in as_rgb(images)])
        return [" ".join(answer.split()) for answer in answers]

    def _request(self, image: Image) -> dict[str, Any]:
        content = [
            {"type": "image_url", "image_url": {"url": data_url(image, self._max_side_px)}},
            {"type": "text", "text": self._prompt},
        ]
        return {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._max_new_tokens,
            "temperature": 0.0,
        }
