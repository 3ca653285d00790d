"""Labels of reverse instructions: readings by the authors of this benchmark, one line of labels.jsonl each.

A label holds for its texts alone. Where one of them changes, the reverse instruction has to be read again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("source_caption", "instruction", "target_caption", "reverse_instruction")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reverse:
    """One edit of a caption with a reverse instruction."""

    caption_id: str
    source_caption: str
    instruction: str
    target_caption: str
    reverse_instruction: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What a reader found: whether the reverse instruction undoes the edit, and if not, why.

    `new_words` are words that no text of the edit has and that name nothing which the captions lack.
    """

    undoes: bool
    why: str
    new_words: frozenset[str]


def read_labels(path: Path) -> dict[Reverse, Label]:
    """The label of each reverse instruction that was read.

    Raises ValueError for a line without a reading (`undoes` is null), for a false one without `why`, and for a second
    line of the same texts.
    """
    found: dict[Reverse, Label] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        row = json.loads(line)
        reverse = Reverse(caption_id=row["caption_id"], **{name: row[name] for name in TEXTS})
        label = Label(undoes=row["undoes"], why=row.get("why", ""), new_words=frozenset(row.get("new_words", ())))
        place = f"{path.name}, line {number}"
        if not isinstance(label.undoes, bool) or label.undoes == bool(label.why):
            raise ValueError(f"{place}: undoes is {label.undoes!r}, why {label.why!r}; expected true, or false and why")
        if reverse in found:
            raise ValueError(f"{place}: {reverse.reverse_instruction!r} has a label already; remove one of them")
        found[reverse] = label
    return found


def unread_line(reverse: Reverse, new_words: tuple[str, ...]) -> str:
    """The line of labels.jsonl that a reader has to complete: `undoes`, `why` where it is false, `new_words`."""
    row = {**asdict(reverse), "undoes": None, **({"new_words": list(new_words)} if new_words else {})}
    return json.dumps(row, ensure_ascii=False)
