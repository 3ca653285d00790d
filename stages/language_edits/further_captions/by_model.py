"""Ask a language model for further captions of an edit: one pair a round for every edit of the batch, in one call.

An edit draws its seeds from a generator of its own, so its pairs depend on no other row of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.language_edits.asking import Asking, ask_in_rounds
from stages.language_edits.further_captions.pairs import CaptionPair, PairFault, SharedEdit, judge, take
from stages.language_edits.further_captions.prompt import SCHEMA, pair_prompt, parse_pair, repair_prompt
from stages.language_edits.judged import EditFault, Judged
from stages.language_edits.prompt import Shown, draw_shown
from stages.language_edits.words import normalised

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from random import Random

    from models.language.example_sets import ExampleEdit
    from models.protocols import TextGenerator


@dataclass(kw_only=True)
class _Asked:
    """An edit whose further pairs are asked for, and how far that went. Retries and repairs are of the next pair."""

    edit: SharedEdit
    shown: Shown
    num_given_up: int = 0
    num_retries: int = 0
    num_repairs: int = 0
    repair: str = ""

    @property
    def rng(self) -> Random:
        """The edit's generator."""
        return self.edit.rng

    @property
    def prompt(self) -> str:
        """The question for the next pair."""
        return pair_prompt(self.edit.pairs, self.shown.examples)

    @property
    def is_complete(self) -> bool:
        """Every pair that is wanted was found or given up."""
        return len(self.edit.further) + self.num_given_up >= self.edit.wanted


class ModelPairs:
    """Asks for the further pairs of edits, as `asking` says; prompts show `num_examples` of the examples."""

    writer = "model"

    def __init__(
        self, model: TextGenerator, asking: Asking, examples: tuple[ExampleEdit, ...], num_examples: int
    ) -> None:
        self._model, self._asking, self._examples, self._num_examples = model, asking, examples, num_examples

    def find(self, edits: Sequence[SharedEdit], notes: Counter[str]) -> None:
        """Fill in the further pairs of each edit, as many as pass."""
        asked = [_Asked(edit=edit, shown=draw_shown(self._examples, 0, self._num_examples, edit.rng)) for edit in edits]
        ask_in_rounds(
            self._model,
            asked,
            lambda one: one.repair or one.prompt,
            lambda one, text: self._take(one, text, notes),
            schema=SCHEMA,
            asking=self._asking,
        )

    def _take(self, one: _Asked, text: str, notes: Counter[str]) -> bool:
        """Judge an answer and keep it or set the next prompt. True where the edit is to be asked for once more."""
        pair = parse_pair(text, one.edit.own.answer)
        unparsable: list[EditFault | PairFault] = [EditFault.UNPARSABLE]
        faults = unparsable if pair is None else self._faults(one, pair)
        take(one.edit, pair, faults, notes)
        if pair is not None and faults and one.num_repairs < self._asking.max_repairs:
            one.num_repairs += 1
            one.repair = repair_prompt(one.prompt, pair, faults)
            return True
        one.repair = ""
        if faults and one.num_retries < self._asking.max_retries:
            one.num_retries += 1
            return True
        one.num_given_up += bool(faults)
        one.num_retries = one.num_repairs = 0
        return not one.is_complete

    def _faults(self, one: _Asked, pair: CaptionPair) -> list[EditFault | PairFault]:
        judged = Judged(
            caption=pair.caption,
            edit_type=pair.answer.edit_type,
            answer=pair.answer,
            lengths=self._asking.lengths,
            shown_targets=one.shown.shown_targets,
        )
        faults = judge(one.edit, judged)
        shown = {normalised(example.caption) for example in one.shown.examples}
        if normalised(pair.caption) in shown and EditFault.COPIED_EXAMPLE not in faults:
            faults.append(EditFault.COPIED_EXAMPLE)
        return faults
