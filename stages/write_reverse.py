"""Write the instruction that undoes each edit, by rule where a rule is sure, else by a language model.

Reads   source_caption (string), target_caption (string), instruction (string), reverse_instruction (string),
        edit_type (string) and edit_object (string), the last three where some stage wrote them
Writes  reverse_instruction (string), reverse_writer (string)
Drops   edits without instruction or caption, or with one of more than 300 words or 2000 characters; edits of which no
        reverse instruction passed, by the check that it failed
Source  Hui et al. 2024, HQ-Edit: an inverse edit beside each edit. Rules and checks are chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from models.language.example_sets import EditExamples
from models.protocols import TextGenerator
from pipeline.stage import BatchFn, MapStage, Needs, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.language_edits.alignment import align
from stages.language_edits.schema import excerpt
from stages.reverse_edits.asking import ReverseAsking, WantedReverse, ask_for_reverses
from stages.reverse_edits.checks import ForwardEdit, NoReverse, fault_of, is_too_long
from stages.reverse_edits.rules import reverse_by_rule

if TYPE_CHECKING:
    from collections import Counter
    from enum import StrEnum

    from pipeline.context import Context

Row = dict[str, Any]


class WriteReverse(MapStage):
    """The reverse instruction of each edit. It names nothing that neither the captions nor the instruction has."""

    version: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("source_caption", "target_caption", "instruction")
    reads_if_present: ClassVar[tuple[str, ...]] = ("reverse_instruction", "edit_type", "edit_object")
    writes: ClassVar[tuple[str, ...]] = ("reverse_instruction", "reverse_writer")
    rejects: ClassVar[type[StrEnum] | None] = NoReverse
    needs: ClassVar[Needs] = Needs(gpu=0.25, memory_bytes=1 << 30, packages=("inflect",))
    uses_rng: ClassVar[bool] = True

    model: Annotated[str | None, Serves(TextGenerator)] = None
    """A TextGenerator for edits that no rule is sure of; none: they are rejected."""
    keep_existing: Literal["always", "if_it_passes", "never"] = "if_it_passes"
    """Whether a reverse instruction of the input is kept: published ones invent attributes."""
    use_rules: bool = True
    """False asks the model for all."""
    examples: Annotated[str | None, Serves(EditExamples)] = None
    """Set of examples that prompts are made of: `examples:photographs`, `path:FILE.jsonl`, or none."""
    num_examples: int = Field(default=5, ge=0)
    """Sampled examples in a prompt."""
    temperature: float = Field(default=0.7, gt=0)
    """Of the draw of tokens."""
    max_new_tokens: int = Field(default=80, ge=1)
    """Longest answer."""
    max_retries: int = Field(default=2, ge=0)
    """How often the model is asked again, with another seed."""
    max_words: int = Field(default=30, ge=2)
    """Most words of a reverse instruction."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model and the examples once, where they are set."""
        model = None if self.model is None else ctx.load(TextGenerator, self.model)
        examples = () if self.examples is None else ctx.load(EditExamples, self.examples).edits
        asking = ReverseAsking(
            max_new_tokens=self.max_new_tokens, max_words=self.max_words, temperature=self.temperature,
            max_retries=self.max_retries, examples=examples, num_examples=self.num_examples,
        )  # fmt: skip

        def write(batch: pa.Table) -> pa.Table:
            rows = batch.to_pylist()
            made = [self._without_model(row, ctx.notes) for row in rows]
            if model is not None:
                wanted = {
                    number: WantedReverse(edit=_edit(row), rng=ctx.rng(row[SAMPLE_ID]))
                    for number, row in enumerate(rows)
                    if made[number].get(REJECT_REASON) == NoReverse.NO_RULE.value
                }
                ask_for_reverses(model, list(wanted.values()), asking, ctx.notes)
                made = [_answered(wanted[number]) if number in wanted else own for number, own in enumerate(made)]
            batch = batch.drop_columns([name for name in self.writes if name in batch.column_names])
            for name in (*self.writes, REJECT_REASON, REJECT_DETAIL):
                batch = batch.append_column(name, pa.array([own.get(name) for own in made], pa.string()))
            return batch

        return write

    def _without_model(self, row: Row, notes: Counter[str]) -> Row:
        """The reverse instruction of the input or of a rule, or why there is none: NO_RULE where a model may help."""
        edit, existing = _edit(row), " ".join((row.get("reverse_instruction") or "").split())
        if not (edit.source and edit.target and edit.instruction):
            lacking = [name for name in self.reads if not (row[name] or "").strip()]
            return _rejected(NoReverse.MISSING_TEXT, f"no {', '.join(lacking)}")
        if long := [name for name in self.reads if is_too_long(row[name])]:
            return _rejected(NoReverse.WRONG_LENGTH, f"too long: {', '.join(long)}")
        if existing and self.keep_existing != "never":
            fault = fault_of(edit, existing, self.max_words) if self.keep_existing == "if_it_passes" else None
            if fault is None:
                return {"reverse_instruction": existing, "reverse_writer": "input"}
            notes[f"reverse instructions of the input, not kept: {fault.value}"] += 1
        if align(edit.source, edit.target).is_none:
            return _rejected(NoReverse.NO_CHANGE, edit.target)
        ruled = reverse_by_rule(edit.source, edit.target, edit.instruction) if self.use_rules else None
        if ruled is not None and fault_of(edit, ruled, self.max_words) is None:
            return {"reverse_instruction": ruled, "reverse_writer": "rule"}
        return _rejected(NoReverse.NO_RULE, edit.instruction)


def _edit(row: Row) -> ForwardEdit:
    texts = ("source_caption", "target_caption", "instruction", "edit_type", "edit_object")
    source, target, instruction, edit_type, thing = (" ".join((row.get(name) or "").split()) for name in texts)
    return ForwardEdit(source=source, target=target, instruction=instruction, edit_type=edit_type, thing=thing)


def _answered(wanted: WantedReverse) -> Row:
    if wanted.reverse is not None:
        return {"reverse_instruction": wanted.reverse, "reverse_writer": "model"}
    return _rejected(wanted.fault or NoReverse.NO_RULE, wanted.last_text)


def _rejected(reason: NoReverse, detail: str) -> Row:
    return {REJECT_REASON: reason.value, REJECT_DETAIL: excerpt(detail)}
