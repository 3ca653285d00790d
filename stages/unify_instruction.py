"""Put each instruction into canonical words: the same edit in other words gets the same text.

Reads   instruction (string)
Writes  unified_instruction (string), instruction_unifier (string)
Drops   rows whose instruction has no letter and no digit (no_instruction)
Source  Meng et al. 2024, InstructGIE (arXiv 2403.05018): a frozen language model unifies instructions; by a secondary
        source it is OpenLLaMA-3B-v2 in 4 bit, a base model. Prompt, rules and the check of answers are chosen
        (`models.language.unification`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models.language.unification.unifier import Unifier
from models.protocols import TextGenerator
from pipeline.stage import MapStage, Serves
from samples.columns import REJECT_REASON

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class NoUnification(StrEnum):
    """Why an instruction has no canonical words."""

    NO_INSTRUCTION = "no_instruction"


class UnifyInstruction(MapStage):
    """Canonical words by rules and, where a model is set, by its answer if that keeps every word of the request."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("instruction",)
    writes: ClassVar[tuple[str, ...]] = ("unified_instruction", "instruction_unifier")
    rejects: ClassVar[type[StrEnum] | None] = NoUnification

    model: Annotated[str | None, Serves(TextGenerator)] = None
    """A TextGenerator, base or instruction-tuned: `hf:Qwen/Qwen3-4B-Instruct-2507@<commit>`; none for rules alone."""
    max_new_tokens: int = Field(default=40, ge=1)
    """Longest answer. A base model writes on after its instruction, and only the first line counts."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once, if there is one."""
        model = None if self.model is None else ctx.load(TextGenerator, self.model)
        unifier = Unifier(model, max_new_tokens=self.max_new_tokens)

        def unify(batch: pa.Table) -> pa.Table:
            found = unifier.unify([instruction or "" for instruction in batch["instruction"].to_pylist()])
            columns = {
                "unified_instruction": [one.text or None for one in found],
                "instruction_unifier": [one.writer if one.text else None for one in found],
                REJECT_REASON: [None if one.text else NoUnification.NO_INSTRUCTION.value for one in found],
            }
            for name, values in columns.items():
                batch = batch.append_column(name, pa.array(values, pa.string()))
            return batch

        return unify
