"""The texts of a session while they are written: the turns after the first, each an edit of the last target caption."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from models.words import plain_word
from samples.columns import TURN

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Row = dict[str, Any]
TURN_FIELDS = tuple(TURN.field(place).name for place in range(TURN.num_fields))


@dataclass(kw_only=True, slots=True, eq=False)
class SessionTexts:
    """The captions of a session so far, the first edit's target the last given one, and the turns written after it."""

    captions: list[str]
    rng: random.Random
    turns: list[Row] = field(default_factory=list)

    def had(self, caption: str) -> bool:
        """True for a caption that the session has in the same words already."""
        return _words(caption) in map(_words, self.captions)

    def is_step_back(self, edit: Row | None) -> bool:
        """True for an edit whose target caption the session had before."""
        return edit is not None and self.had(edit["target_caption"])

    def add(self, edit: Row | None) -> bool:
        """Take a further edit of the last caption. False, and nothing is taken, for none and for a step back."""
        if edit is None or self.is_step_back(edit):
            return False
        self.turns.append({name: edit.get(name) for name in TURN_FIELDS})
        self.captions.append(edit["target_caption"])
        return True


class TurnWriter(Protocol):
    """Writes one more edit for each of many sessions."""

    def write(self, sessions: Sequence[SessionTexts]) -> list[Row | None]:
        """An edit of each session's last caption, or None where there is none. Randomness is the session's own."""
        ...


class FirstThatWrites:
    """A TurnWriter over several: a session for which one has no edit, or a step back, is the next one's."""

    def __init__(self, writers: Sequence[TurnWriter]) -> None:
        self._writers = writers

    def write(self, sessions: Sequence[SessionTexts]) -> list[Row | None]:
        """An edit for each session, by the first writer that has one."""
        found: dict[int, Row | None] = dict.fromkeys(range(len(sessions)))
        for writer in self._writers:
            left = [number for number, edit in found.items() if edit is None]
            if left:
                edits = writer.write([sessions[number] for number in left])
                found.update(zip(left, edits, strict=True))
                found.update({n: None for n in left if sessions[n].is_step_back(found[n])})
        return list(found.values())


def write_further(writer: TurnWriter, sessions: Sequence[SessionTexts], num_turns: int) -> None:
    """Write turns until each session has `num_turns`, the given first edit included, or no further edit."""
    live = list(sessions)
    for _ in range(num_turns - 1):
        if not live:
            return
        edits = writer.write(live)
        live = [one for one, edit in zip(live, edits, strict=True) if one.add(edit)]


def _words(caption: str) -> list[str]:
    return [word for word in map(plain_word, caption.split()) if word]
