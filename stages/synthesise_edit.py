"""Edit each source image as its row says, with any editor: a target image for each candidate.

Reads   source_images (list<binary>), and of instruction (string), source_caption (string), target_caption (string),
        region_mask_png (binary), example_source_images (list<binary>) and example_target_images (list<binary>) what the
        editor needs, and what it uses where it is there
Writes  target_image (binary), target_format (string), candidate_number (int32), synthesis_seed (int64),
        edit_model (string), edit_input_tokens (int64, no value where the editor bills none),
        edit_output_tokens (int64, the same)
Drops   rows that lack what the editor needs (missing_field), and rows all of whose candidates failed, by the fault that
        most of them had: the server refused the request (refused), the answer is no image (no_image), the edited image
        is the source (no_change). A candidate that failed is left out; notes count them. Scores and judges decide
        about the rest.
Source  Brooks et al. 2023, InstructPix2Pix, and later editors; several candidates of one edit as in Hui et al. 2024,
        HQ-Edit, and Ye et al. 2025, ImgEdit. Chosen: each candidate has a seed of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import Editor
from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, expanded_schema
from samples.stored_images import made_image
from stages.editing.former_targets import is_about_target
from stages.editing.orders import SEED_BITS, EditFault, Order, edit_all
from stages.editing.requests import REQUEST_COLUMNS, LacksField, request_of
from stages.editing.settings import EditingStage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.editing.orders import Edited

Row = dict[str, Any]


class SynthesiseEdit(EditingStage):
    """Target images of an editor, all candidates as rows of their own."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images",)
    reads_if_present: ClassVar = REQUEST_COLUMNS
    writes: ClassVar = (
        "target_image", "target_format", "candidate_number", "synthesis_seed", "edit_model", "edit_input_tokens",
        "edit_output_tokens",
    )  # fmt: skip
    rejects: ClassVar = EditFault

    num_candidates: int = Field(default=1, ge=1)
    """Edited images of each row."""

    def outdates(self, name: str) -> bool:
        """True for what described a target that the row had before."""
        return is_about_target(name)

    def open(self, ctx: Context) -> BatchFn:
        """Load the editor once."""
        editor = ctx.load(Editor, self.model, settings=self.editor_settings())
        schema = expanded_schema(self.writes)

        def edit(batch: pa.Table) -> pa.Table:
            rejected: dict[str, Row] = {}
            answers: dict[str, list[Edited]] = {sample_id: [] for sample_id in batch[SAMPLE_ID].to_pylist()}
            orders = self._orders(batch, editor, ctx, rejected)
            for edited in edit_all(editor, orders, image_format=self.format, quality=self.quality, notes=ctx.notes):
                answers[edited.order.key[0]].append(edited)
            rows = [
                row
                for sample_id, found in answers.items()
                for row in ([rejected[sample_id]] if sample_id in rejected else self._rows(sample_id, found))
            ]
            return pa.Table.from_pylist(rows, schema)

        return edit

    def _orders(self, batch: pa.Table, editor: Editor, ctx: Context, rejected: dict[str, Row]) -> Iterator[Order]:
        """The orders of all rows. A row that gives none is added to `rejected`."""
        for start in range(batch.num_rows):
            row = batch.slice(start, 1).to_pylist()[0]
            sample_id = row[SAMPLE_ID]
            try:
                request = request_of(row, made_image(row["source_images"][0]), editor.needs, editor.uses)
            except LacksField as error:
                rejected[sample_id] = _rejected(sample_id, EditFault.MISSING_FIELD, str(error))
                continue
            rng = ctx.rng(sample_id)
            for number in range(1, self.num_candidates + 1):
                yield Order(key=(sample_id, number), request=request, seed=rng.getrandbits(SEED_BITS))

    def _rows(self, sample_id: str, answers: list[Edited]) -> list[Row]:
        """A row for each candidate that is an edit, or the reject of a row without any."""
        made = [
            {
                SAMPLE_ID: f"{sample_id}-c{one.order.key[1]}", PARENT_ID: sample_id, "target_image": one.file,
                "target_format": self.format, "candidate_number": one.order.key[1], "synthesis_seed": one.order.seed,
                "edit_model": self.model, **one.columns,
            }
            for one in answers if one.file is not None
        ]  # fmt: skip
        if made:
            return made
        (fault, _), *_ = Counter(one.fault for one in answers if one.fault is not None).most_common(1)
        return [_rejected(sample_id, fault, next(one.detail for one in answers if one.fault is fault))]


def _rejected(sample_id: str, fault: EditFault, detail: str) -> Row:
    return {SAMPLE_ID: sample_id, REJECT_REASON: fault.value, REJECT_DETAIL: detail}
