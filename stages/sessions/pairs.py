"""The pairs that come of a session: each turn, turns taken together (compositions), turns undone (inverses).

A composition goes from the session's first source to the target of a later turn. It is made only where every turn's
change is still there in the last caption: where a later turn changes the same words, "X, then Y" would claim what the
image no longer shows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.words import plain_word

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Row = dict[str, Any]

TEXTS = (
    "source_caption", "target_caption", "instruction", "reverse_instruction", "edit_type", "source_phrase",
    "target_phrase", "edit_object", "edit_writer",
)  # fmt: skip
"""Columns of a turn's texts."""
THEN = ", then "
COMPOSITION = "composition"
"""Value of `edit_type` of a composition, as of `pair_kind`."""
ARTICLES = frozenset({"a", "an"})
"""They follow the word after them, so they are no change of their own."""
OPPOSITE = {"add": "remove", "remove": "add"}
"""Type of edit -> that of its inverse, where it is another one."""

INVERTIBLE = (
    "add", "remove", "replace", "replace_noun", "turn", "move", "change_colour", "change_attribute",
    "change_adjective", "change_background", "transform_local", "transform_global",
)  # fmt: skip
"""Types of edit that words can undo. A style is none: they do not say what a drawing looked like before."""


@dataclass(kw_only=True, slots=True, eq=False)
class Turn:
    """One turn that was carried out: images as they are stored with their formats, texts, and further columns."""

    source: tuple[bytes, str]
    target: tuple[bytes, str]
    texts: Mapping[str, Any]
    columns: Row = field(default_factory=dict)
    """How the image was made, and its drift."""


def turn_pair(number: int, turn: Turn) -> tuple[str, Row]:
    """(suffix of the id, row) of one turn."""
    return f"s{number}", _row("turn", number, turn.source, turn.target, turn.texts) | turn.columns


def inverse_pair(number: int, turn: Turn, types: Collection[str]) -> tuple[str, Row] | None:
    """(suffix, row) from the turn's target back to its source, or None where the words or the type do not allow it."""
    texts = turn.texts
    kind, undo = texts.get("edit_type") or "", (texts.get("reverse_instruction") or "").strip()
    if not undo or kind not in types:
        return None
    turned = {
        **texts, "instruction": undo, "reverse_instruction": texts["instruction"],
        "edit_type": OPPOSITE.get(kind, kind),
        "source_caption": texts["target_caption"], "target_caption": texts["source_caption"],
        "source_phrase": texts.get("target_phrase"), "target_phrase": texts.get("source_phrase"),
    }  # fmt: skip
    return f"s{number}r", _row("inverse", number, turn.target, turn.source, turned) | drift_of(turn)


def composed_pair(turns: Sequence[Turn]) -> tuple[str, Row] | None:
    """(suffix, row) of the first turns together, or None where a later one undoes or changes an earlier one.

    None too where a turn has no instruction: the first edit may be by an editor that needs none.
    """
    first, last, number = turns[0], turns[-1], len(turns)
    if not all((turn.texts.get("instruction") or "").strip() for turn in turns):
        return None
    if not all_changes_last([(turn.texts["source_caption"], turn.texts["target_caption"]) for turn in turns]):
        return None
    undo = [(turn.texts.get("reverse_instruction") or "").strip() for turn in reversed(turns)]
    writers = {turn.texts.get("edit_writer") for turn in turns}
    texts = {
        "source_caption": first.texts["source_caption"], "target_caption": last.texts["target_caption"],
        "instruction": joined([turn.texts["instruction"] for turn in turns]),
        "reverse_instruction": joined(undo) if all(undo) else None, "edit_type": COMPOSITION,
        "edit_writer": writers.pop() if len(writers) == 1 else "rule",
    }  # fmt: skip
    return f"s1to{number}", _row(COMPOSITION, number, first.source, last.target, texts) | drift_of(last)


def all_changes_last(captions: Sequence[tuple[str | None, str | None]]) -> bool:
    """True where the words that all turns took away and brought are those by which the ends differ, and each has some.

    `captions` are (before, after) of each turn. A turn that replaces, removes or brings back a word that an earlier one
    brought or took away makes this false, and so does a turn without captions or without change.
    """
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    for before, after in captions:
        if not before or not after:
            return False
        lost, found = _word_counts(before) - _word_counts(after), _word_counts(after) - _word_counts(before)
        if not lost and not found:
            return False
        gone += lost
        come += found
    first, last = _word_counts(captions[0][0] or ""), _word_counts(captions[-1][1] or "")
    return gone == first - last and come == last - first


def joined(instructions: Sequence[str]) -> str:
    """The instructions as one: "make it red, then add a dog"."""
    plain = [" ".join(text.split()).rstrip(".!; ") for text in instructions]
    return THEN.join([plain[0], *(text[:1].lower() + text[1:] for text in plain[1:])])


def drift_of(turn: Turn) -> Row:
    """The drift of a turn, without how its image was made."""
    return {name: value for name, value in turn.columns.items() if name.startswith("session_")}


def _row(kind: str, number: int, source: tuple[bytes, str], target: tuple[bytes, str], texts: Mapping[str, Any]) -> Row:
    return {
        "pair_kind": kind, "turn": number, "source_images": [source[0]], "source_format": source[1],
        "target_image": target[0], "target_format": target[1], **{name: texts.get(name) for name in TEXTS},
    }  # fmt: skip


def _word_counts(caption: str) -> Counter[str]:
    return Counter(word for word in map(plain_word, caption.split()) if word and word not in ARTICLES)
