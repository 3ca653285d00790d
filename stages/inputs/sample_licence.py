"""Find the licence of a sample in the metadata that came with it.

Known are the columns of LAION (`LICENSE`), OpenImages (`License`), YFCC (`license_url`, `license_name`) and the field
`license` of Hugging Face's datasets. The text is kept as found: `core.licences` says what it means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.licences.names import MAX_CHARS, clean
from stages.inputs.table_columns import plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping

LICENCE_NAMES = ("license", "licence", "license_url", "licence_url", "license_name", "licence_name")
"""Keys of metadata, as `plain_name` gives them; the first with a text counts, and a number
where none has one: `license: 4` beside `license_url` is a number of the input's own list."""
NO_LICENCE = frozenset({"", "?", "-", "none", "null", "nan", "n/a", "na", "unknown", "unspecified", "not specified"})
"""Texts that say that the licence is not known, in lower case."""


def licence_in(metadata: Mapping[str, Any]) -> str | None:
    """The text of the licence on one line of at most `MAX_CHARS` characters, or None where the metadata state none."""
    known: dict[str, Any] = {}
    for name, value in metadata.items():
        known.setdefault(plain_name(name[:MAX_CHARS]), value)
    texts = (_joined(known.get(name)) for name in LICENCE_NAMES)
    found = [text for text in texts if text.lower() not in NO_LICENCE]
    return next((text for text in found if not text.isdecimal()), found[0] if found else None)


def _joined(value: Any) -> str:
    """The value as one line, several licences of a list joined by commas. Lists within the list are no licences."""
    if isinstance(value, list):
        return clean(", ".join(text for text in map(_text, value[:MAX_CHARS]) if text))
    return _text(value)


def _text(value: Any) -> str:
    """A text on one line, empty for what is none. A number is the name that the input uses."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return clean(str(value))
