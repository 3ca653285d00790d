"""The words of all captions and how often each comes, as `stages.count_words` leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.strict_json import Count, State, parse

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY = "vocabulary"
"""Name of the artifact."""


class _Vocabulary(State):
    words: dict[str, Count]


def read_word_counts(path: Path) -> dict[str, int]:
    """Each word in lower case -> its occurrences. Raises DamagedFileError for a file that is something else."""
    return parse(_Vocabulary, path.read_bytes(), path.name).words
