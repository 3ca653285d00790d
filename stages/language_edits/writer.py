"""Edits of the captions of a batch: by WordNet for those that are drawn for it, by a language model for the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stages.language_edits.asking import Asking, WantedEdit, ask_for_edits, draw_types
from stages.language_edits.judged import EditFault
from stages.language_edits.prompt import draw_shown
from stages.language_edits.rows import children, edit_row, rejection
from stages.language_edits.schema import LONGEST_FIELD
from stages.language_edits.words import words
from stages.wordnet_edits.drawing import draw, edit_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.language.example_sets import ExampleEdit
    from models.protocols import TextGenerator
    from pipeline.context import Context
    from stages.language_edits.further_captions.find import FurtherPairs
    from stages.language_edits.rows import Row
    from stages.language_edits.schema import EditAnswer
    from stages.wordnet_edits.edits import EditFinder


@dataclass(frozen=True, kw_only=True, slots=True)
class Writing:
    """Which edits are written. `shares` is type of edit -> weight; prompts show edits drawn from `examples`."""

    asking: Asking
    edits_per_caption: int
    shares: Mapping[str, float]
    examples: tuple[ExampleEdit, ...]
    num_instructions: int
    num_examples: int
    wordnet_frac: float


class EditWriter:
    """Writes the edits of a batch. `finder` is None without a lexicon, `further` where each edit stays alone."""

    def __init__(
        self,
        model: TextGenerator,
        writing: Writing,
        finder: EditFinder | None,
        further: FurtherPairs | None = None,
    ) -> None:
        self._model, self._writing, self._finder, self._further = model, writing, finder, further

    def rows(self, captions: list[tuple[str, str]], ctx: Context) -> list[Row]:
        """The edits of (sample id, caption) of each row, or its rejection, parents in order."""
        made: dict[str, list[Row]] = {}
        rejected: dict[str, Row] = {}
        wanted: dict[str, list[WantedEdit]] = {}
        for sample_id, caption in captions:
            rng = ctx.rng(sample_id)
            if fault := self._fault_of(sample_id, caption):
                rejected[sample_id] = fault
            elif edits := self._by_wordnet(caption, rng):
                made[sample_id] = edits
            else:
                wanted[sample_id] = self._wanted(caption, rng)
        ask_for_edits(
            self._model, [edit for asked in wanted.values() for edit in asked], self._writing.asking, ctx.notes
        )
        for sample_id, asked in wanted.items():
            if edits := _own_edits(asked):
                made[sample_id] = edits
            else:
                rejected[sample_id] = _failed(sample_id, asked)
        if self._further is not None:
            made = self._further.beside(made, ctx)
        rows = {sample_id: children(sample_id, edits) for sample_id, edits in made.items()}
        rows |= {sample_id: [row] for sample_id, row in rejected.items()}
        return [row for sample_id, _ in captions for row in rows[sample_id]]

    def _fault_of(self, sample_id: str, caption: str) -> Row | None:
        """The rejection of a caption that is not to be edited."""
        num_words = len(words(caption))
        if not num_words:
            return rejection(sample_id, EditFault.NO_CAPTION, caption)
        if num_words > self._writing.asking.lengths.max_caption:
            return rejection(sample_id, EditFault.WRONG_LENGTH, f"caption of {num_words} words")
        if len(caption) > LONGEST_FIELD:  # no answer could repeat it
            return rejection(sample_id, EditFault.WRONG_LENGTH, f"caption of {len(caption)} characters")
        return None

    def _by_wordnet(self, caption: str, rng: Random) -> list[Row]:
        """WordNet's edits, or none where the caption is the model's or WordNet has none."""
        is_chosen = rng.random() < self._writing.wordnet_frac
        sites = self._finder.sites(caption) if is_chosen and self._finder is not None else []
        if not sites:
            return []
        return [
            {
                **edit_columns(caption, edit_type, option, rng),
                "edit_object": option.source.bare or option.source.phrase,
                "edit_writer": "wordnet",
            }
            for edit_type, option in draw(sites, self._writing.edits_per_caption, rng)
        ]

    def _wanted(self, caption: str, rng: Random) -> list[WantedEdit]:
        """The edits to ask for, each with a type, a context and a generator of its own."""
        writing = self._writing
        siblings: list[EditAnswer] = []
        wanted = []
        for edit_type in draw_types(writing.shares, writing.edits_per_caption, rng):
            own = Random(rng.getrandbits(64))
            shown = draw_shown(writing.examples, writing.num_instructions, writing.num_examples, own)
            wanted.append(WantedEdit(caption=caption, edit_type=edit_type, shown=shown, rng=own, siblings=siblings))
        return wanted


def _own_edits(edits: list[WantedEdit]) -> list[Row]:
    """Rows of the edits that passed."""
    return [edit_row(edit.caption, edit.edit_type, edit.answer, "model") for edit in edits if edit.answer is not None]


def _failed(sample_id: str, edits: list[WantedEdit]) -> Row:
    """The rejection of a caption of which no edit passed."""
    (fault, _), *_ = Counter(reversed([fault for edit in edits for fault in edit.faults])).most_common(1)
    return rejection(sample_id, fault, next(e.last_text for e in reversed(edits) if fault in e.faults))
