"""Words of a phrase in a caption, as a synthesizer looks for them: without case and without punctuation around."""

from __future__ import annotations

from models.words import plain_word


def words_in(phrase: str | None, caption: str) -> list[str]:
    """The words of the phrase that the caption has, in the phrase's order, each once."""
    known = set(_words(caption))
    return list(dict.fromkeys(word for word in _words(phrase or "") if word in known))


def _words(text: str) -> list[str]:
    return [word for word in map(plain_word, text.split()) if word]
