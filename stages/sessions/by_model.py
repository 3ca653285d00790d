"""The next turn of a session by a language model, checked as the edits of `write_edits` are."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stages.language_edits.asking import Asking, WantedEdit, ask_for_edits, draw_types
from stages.language_edits.prompt import draw_shown
from stages.language_edits.rows import edit_row
from stages.language_edits.schema import EditAnswer

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from models.language.example_sets import ExampleEdit
    from models.protocols import TextGenerator
    from stages.sessions.turns import Row, SessionTexts


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnAsking:
    """How turns are asked for. `shares` is type of edit -> weight; prompts show edits drawn from `examples`."""

    asking: Asking
    shares: Mapping[str, float]
    examples: tuple[ExampleEdit, ...]
    num_instructions: int
    num_examples: int


class ModelTurns:
    """A TurnWriter. The turns of all sessions are asked for together; an answer that steps back is asked for anew."""

    def __init__(self, model: TextGenerator, asking: TurnAsking, notes: Counter[str]) -> None:
        self._model, self._asking, self._notes = model, asking, notes

    def write(self, sessions: Sequence[SessionTexts]) -> list[Row | None]:
        """An edit of each session's last caption, or None where no answer passed."""
        wanted = [self._wanted(one) for one in sessions]
        ask_for_edits(self._model, wanted, self._asking.asking, self._notes)
        return [
            None if one.answer is None else edit_row(one.caption, one.edit_type, one.answer, "model") for one in wanted
        ]

    def _wanted(self, session: SessionTexts) -> WantedEdit:
        (edit_type,), asking = draw_types(self._asking.shares, 1, session.rng), self._asking
        own = Random(session.rng.getrandbits(64))
        shown = draw_shown(asking.examples, asking.num_instructions, asking.num_examples, own)
        earlier = [EditAnswer("", "", "", caption, "") for caption in session.captions[:-1]]
        return WantedEdit(caption=session.captions[-1], edit_type=edit_type, shown=shown, rng=own, siblings=earlier)
