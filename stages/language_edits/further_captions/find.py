"""Rows of the further pairs of each edit of a batch, beside the edit's own row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stages.language_edits.further_captions.pairs import ALONE, CaptionPair, SharedEdit
from stages.language_edits.rows import answer_in, edit_row

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from pipeline.context import Context
    from stages.language_edits.rows import Row


class PairFinder(Protocol):
    """Finds further pairs: `by_model.ModelPairs` or `by_wordnet.WordnetPairs`. `writer` is its name in the rows."""

    writer: str

    def find(self, edits: Sequence[SharedEdit], notes: Counter[str]) -> None:
        """Fill in the further pairs of each edit, `wanted` at most."""
        ...


class FurtherPairs:
    """Puts up to `per_edit` further pairs after each edit."""

    def __init__(self, finder: PairFinder, per_edit: int) -> None:
        self._finder, self._per_edit = finder, per_edit

    def beside(self, edits: Mapping[str, list[Row]], ctx: Context) -> dict[str, list[Row]]:
        """The edits of each sample id, every one followed by its further pairs."""
        shared = {
            (sample_id, number): SharedEdit(
                own=CaptionPair(row["source_caption"], answer_in(row)),
                wanted=self._per_edit,
                rng=ctx.rng(f"{sample_id}/further/{number}"),
            )
            for sample_id, rows in edits.items()
            for number, row in enumerate(rows)
        }
        self._finder.find(list(shared.values()), ctx.notes)
        if alone := sum(not edit.further for edit in shared.values()):
            ctx.notes[ALONE] += alone
        return {
            sample_id: [one for number, row in enumerate(rows) for one in (row, *self._rows(shared[sample_id, number]))]
            for sample_id, rows in edits.items()
        }

    def _rows(self, edit: SharedEdit) -> list[Row]:
        own = edit.own.answer.edit_type
        return [edit_row(pair.caption, own, pair.answer, self._finder.writer) for pair in edit.further]
