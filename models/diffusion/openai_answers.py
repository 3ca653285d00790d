"""What servers with OpenAI's interfaces answer to an edit: the image in its forms, and the tokens that they bill.

An address in an answer is not followed: only bytes within the answer count. Sources: OpenAI's reference of
`/v1/images/edits`; vLLM-Omni's docs/serving/image_edit_api.md at 00a3619 and its example of image-to-image serving
(`content` is a list with an `image_url`); OpenRouter's documentation of image output (`images` beside the text).
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from samples.images import decode_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from PIL.Image import Image

MAX_PIXELS = 4096 * 4096
"""Largest answer that is decoded."""
MAX_TOKENS = 1 << 40
"""A server that bills more for one request is not believed."""
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,([A-Za-z0-9+/]+={0,2})")
_TOKEN_NAMES = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
"""Names of the two counts, as `/v1/images/edits` and as chats have them."""


def image_of_edits(answer: Any) -> Image:
    """The image of an answer of `/v1/images/edits`. Raises ValueError where it holds none that can be used."""
    try:
        stored = answer["data"][0]["b64_json"]
    except (KeyError, IndexError, TypeError):
        raise ValueError("no image is in the answer") from None
    return _decoded(stored)


def image_of_chat(answer: Any) -> Image:
    """The first image of the answer of a chat. Raises ValueError where it holds none that can be used."""
    try:
        message = answer["choices"][0]["message"]
        found = next(_stored_images(message), None)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("no message is in the answer") from None
    if found is None:
        raise ValueError(f"the answer has no image, but: {message.get('content')}")
    return _decoded(found)


def tokens_of(answer: Any) -> tuple[int | None, int | None]:
    """(input tokens, output tokens) that the answer says were used, None for what it does not say."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return None, None
    both = [next((usage[name] for name in names if name in usage), None) for names in _TOKEN_NAMES]
    first, second = (
        one if isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= MAX_TOKENS else None for one in both
    )
    return first, second


def _stored_images(message: Mapping[str, Any]) -> Iterator[str]:
    """Images of a message as base64, of the parts of `content` first, then of `images`, where `content` is no list."""
    content = message.get("content")
    for part in (*(content if isinstance(content, list) else ()), *(message.get("images") or ())):
        url = part.get("image_url")
        text = url.get("url") if isinstance(url, dict) else url
        if isinstance(text, str):
            yield from _DATA_URL.findall(text)
    if isinstance(content, str):
        yield from _DATA_URL.findall(content)


def _decoded(stored: Any) -> Image:
    """Raises ValueError for a text that is no image, and for an image beyond the limits."""
    try:
        content = base64.b64decode(stored, validate=True)
    except (TypeError, ValueError):
        raise ValueError("the image in the answer is no base64") from None
    return decode_image(content, max_pixels=MAX_PIXELS)
