"""The licence that a model card states: README.md of a checkpoint, with YAML between two lines of dashes at its top.

The Hub knows `license`, an id or a list of ids, and for `license: other` the name in `license_name`. Cards hold more
than that: a name beside a known id, a list over several lines, comments. Only these two keys are read, without a parser
of YAML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from core.licences.names import clean, find_one

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 16
"""The part of a README.md that may hold its front matter."""
UNNAMED = frozenset({"other", "unknown"})
"""Ids that say nothing: the name counts."""
_FRONT_MATTER = re.compile(r"\ufeff?\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)", re.DOTALL)
_ENTRY = re.compile(r"^(license|license_name)[ \t]*:(.*(?:\n(?:[ \t]+.*|-[ \t].*))*)", re.MULTILINE)
"""One key at the start of a line, its value there and on the indented lines and list items below."""


def licence_of_readme(readme: Path) -> str | None:
    """The licence that a README.md states, or None where there is no such file or it states none."""
    if not readme.is_file():
        return None
    with readme.open("rb") as handle:
        return licence_in(handle.read(MAX_BYTES).decode("utf-8", "replace"))


def licence_in(readme: str) -> str | None:
    """The licence in the front matter of this text."""
    front = _FRONT_MATTER.match(readme.replace("\r\n", "\n"))
    if front is None:
        return None
    return card_licence({key: _values(text) for key, text in _ENTRY.findall(front[1])})


def card_licence(card: Any) -> str | None:
    """The licence that a card's fields state. Where an id and a name differ, both apply: `apache-2.0, NAME`."""
    licence, name = _joined(card.get("license")), _joined(card.get("license_name"))
    if not licence or licence.lower() in UNNAMED:
        return name or licence or None
    if not name or find_one(name) == find_one(licence):
        return licence
    return clean(f"{licence}, {name}")


def _values(text: str) -> list[str]:
    """The scalars of a YAML value: one, a list in brackets, or items on lines of their own."""
    lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.split("\n")]
    lines = [line for line in lines if line and line not in (">", ">-", "|", "|-")]
    if any(line.startswith("- ") for line in lines):
        items = [line.removeprefix("- ") for line in lines]
    else:
        items = " ".join(lines).strip("[]").split(",") if " ".join(lines).startswith("[") else [" ".join(lines)]
    return [item.strip().strip("'\"") for item in items if item.strip()]


def _joined(value: Any) -> str:
    """A field as one line: several values are joined by commas."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return clean(", ".join(str(one) for one in values))
