"""Edits of the captions of a batch: by WordNet for those that are drawn for it, by a language model for the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.language_edits.alignment import phrases
from stages.language_edits.asking import Asking, WantedEdit, ask_for_edits, draw_types
from stages.language_edits.edit_kinds import kind_of
from stages.language_edits.judged import EditFault
from stages.language_edits.prompt import draw_shown
from stages.language_edits.schema import LONGEST_FIELD, excerpt
from stages.language_edits.words import words
from stages.wordnet_edits.drawing import draw, edit_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.language.example_sets import ExampleEdit
    from models.protocols import TextGenerator
    from pipeline.context import Context
    from stages.language_edits.schema import EditAnswer
    from stages.wordnet_edits.edits import EditFinder

Row = dict[str, Any]


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
    """Writes the edits of a batch. `finder` is None where WordNet has no share."""

    def __init__(self, model: TextGenerator, writing: Writing, finder: EditFinder | None) -> None:
        self._model, self._writing, self._finder = model, writing, finder

    def rows(self, captions: list[tuple[str, str]], ctx: Context) -> list[Row]:
        """The edits of (sample id, caption) of each row, or its rejection, parents in order."""
        made: dict[str, list[Row]] = {}
        wanted: dict[str, list[WantedEdit]] = {}
        for sample_id, caption in captions:
            rng = ctx.rng(sample_id)
            num_words = len(words(caption))
            if not num_words:
                made[sample_id] = [_reject(sample_id, EditFault.NO_CAPTION, caption)]
            elif num_words > self._writing.asking.lengths.max_caption:
                made[sample_id] = [_reject(sample_id, EditFault.WRONG_LENGTH, f"caption of {num_words} words")]
            elif len(caption) > LONGEST_FIELD:  # no answer could repeat it
                made[sample_id] = [_reject(sample_id, EditFault.WRONG_LENGTH, f"caption of {len(caption)} characters")]
            elif edits := self._by_wordnet(caption, rng):
                made[sample_id] = _children(sample_id, edits)
            else:
                wanted[sample_id] = self._wanted(caption, rng)
        ask_for_edits(
            self._model, [edit for asked in wanted.values() for edit in asked], self._writing.asking, ctx.notes
        )
        for sample_id, asked in wanted.items():
            made[sample_id] = _by_model(sample_id, asked)
        return [row for sample_id, _ in captions for row in made[sample_id]]

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


def _by_model(sample_id: str, edits: list[WantedEdit]) -> list[Row]:
    """The edits that passed, or the rejection of their parent."""
    kept = [_columns(edit) for edit in edits if edit.answer is not None]
    if kept:
        return _children(sample_id, kept)
    (fault, _), *_ = Counter(reversed([fault for edit in edits for fault in edit.faults])).most_common(1)
    return [_reject(sample_id, fault, next(e.last_text for e in reversed(edits) if fault in e.faults))]


def _columns(edit: WantedEdit) -> Row:
    answer = edit.answer
    assert answer is not None
    source_phrase, target_phrase = phrases(edit.caption, answer.target_caption, answer.object)
    scope = kind_of(edit.edit_type).scope
    return {
        "source_caption": edit.caption,
        "target_caption": answer.target_caption,
        "instruction": answer.instruction,
        "reverse_instruction": answer.reverse_instruction,
        "edit_type": edit.edit_type,
        "source_phrase": "" if scope == "add" else source_phrase,
        "target_phrase": "" if scope == "remove" else target_phrase,
        "edit_object": answer.object,
        "edit_writer": "model",
    }


def _children(sample_id: str, edits: list[Row]) -> list[Row]:
    return [
        {SAMPLE_ID: f"{sample_id}-e{number}", PARENT_ID: sample_id, **edit}
        for number, edit in enumerate(edits, start=1)
    ]


def _reject(sample_id: str, fault: EditFault, detail: str) -> Row:
    return {SAMPLE_ID: sample_id, REJECT_REASON: fault.value, REJECT_DETAIL: excerpt(detail)}
