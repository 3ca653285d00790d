"""Words of a caption, as models are asked for them."""

from __future__ import annotations

PUNCTUATION = ".,;:!?\"'()"


def plain_word(word: str) -> str:
    """The word in lower case, without punctuation around it; empty where nothing else is left."""
    return word.lower().strip(PUNCTUATION)
