"""Choose the things on the source image that an edit changes, so that they can be found and masked.

Reads   instruction (string), source_caption (string), target_caption (string); object_tags (list<string>),
        source_phrase (string) and edit_type (string) where they are there; without `model` the last two have to be
Writes  edit_objects (list<string>)
Drops   nothing: an edit of the whole image has an empty list, and so has one of which no thing is known
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), stage III and table 10: a language model names at most 2 things,
        or NONE for edits of style or of the whole image and for things that are added or moved. The rule is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import TextGenerator
from pipeline.stage import MapStage, Needs, Serves
from samples.columns import SAMPLE_ID, column
from stages.regions.choosing import Asking, Edit, ask_for_objects, objects_by_rule

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn

WHOLE_IMAGE_TYPES = ("add", "move", "transform_global", "change_background", "change_style")


class ChooseObject(MapStage):
    """Things by a language model, or by a rule: the phrase of the source caption that the edit changes."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("instruction", "source_caption", "target_caption")
    reads_if_present: ClassVar = ("object_tags", "source_phrase", "edit_type")
    writes: ClassVar = ("edit_objects",)
    needs: ClassVar = Needs(gpu=1.0, memory_bytes=2 << 30)
    uses_rng: ClassVar[bool] = True

    model: Annotated[str | None, Serves(TextGenerator)] = None
    """A TextGenerator: `hf:Qwen/Qwen3-4B-Instruct-2507@<commit>`, `openai:MODEL@URL`; none for the rule."""
    max_objects: int = Field(default=2, ge=1)
    """Most things that the model may name."""
    whole_image_types: tuple[str, ...] = Field(default=WHOLE_IMAGE_TYPES, strict=False)
    """Types of edit for which the rule gives the whole image."""
    max_retries: int = Field(default=2, ge=0)
    """How often the model is asked again after a malformed answer; then the rule decides."""
    retry_temperature: float = Field(default=0.7, gt=0)
    """Of the draw of tokens where the model is asked again; at first it takes the likeliest."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest answer."""

    def needs_columns(self) -> tuple[str, ...]:
        """What the rule goes by, where there is no model."""
        return () if self.model is not None else ("source_phrase", "edit_type")

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once, if there is one."""
        model = None if self.model is None else ctx.load(TextGenerator, self.model)
        asking = Asking(
            max_objects=self.max_objects, max_retries=self.max_retries, max_new_tokens=self.max_new_tokens,
            retry_temperature=self.retry_temperature,
        )  # fmt: skip

        def choose(batch: pa.Table) -> pa.Table:
            edits = [_edit(row) for row in batch.to_pylist()]
            found: list[list[str] | None] = [None] * len(edits)
            if model is not None:
                rngs = [ctx.rng(sample_id) for sample_id in batch[SAMPLE_ID].to_pylist()]
                found = ask_for_objects(model, edits, rngs, asking, ctx.notes)
            chosen = [
                objects_by_rule(edit, self.whole_image_types) if named is None else named
                for edit, named in zip(edits, found, strict=True)
            ]
            return batch.append_column("edit_objects", pa.array(chosen, column("edit_objects").type))

        return choose


def _edit(row: dict[str, Any]) -> Edit:
    return Edit(
        tags=row.get("object_tags") or (),
        **{
            name: row.get(name) or ""
            for name in ("instruction", "source_caption", "target_caption", "source_phrase", "edit_type")
        },
    )
