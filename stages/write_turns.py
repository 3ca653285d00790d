"""Write further edits after the first one, each of the caption that the last edit left: the texts of a session.

`chain_edits` carries them out. Here no image is looked at, so another editor writes no text anew.

Reads   target_caption (string), and source_caption (string) where there is one
Writes  further_turns (list<struct>): instruction, reverse instruction, target caption, type and phrases of each turn
Drops   rows without target caption (no_caption) and rows for which no second edit was found (no_further_edit). A
        session that ends before `num_turns` is kept; notes count the sessions by their turns.
Source  Zhang et al. 2023, MagicBrush, for sessions of edits; Ye et al. 2025, ImgEdit, for written ones. Chosen: a turn
        never leads back to a caption that the session had before.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from models.language.example_sets import EditExamples
from models.language.wordnet import WordNet
from models.protocols import TextGenerator
from pipeline.stage import BatchFn, MapStage, Needs, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.language_edits.asking import Asking
from stages.language_edits.judged import Lengths
from stages.regions.rows import with_rows
from stages.sessions.by_model import ModelTurns, TurnAsking
from stages.sessions.by_wordnet import WordnetTurns
from stages.sessions.turns import FirstThatWrites, Row, SessionTexts, TurnWriter, write_further
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.sisters import Sisters

if TYPE_CHECKING:
    from collections import Counter

    import pyarrow as pa

    from pipeline.context import Context

WORDNET_OPTIONS = 6
"""How many of the best replacements of a noun one is drawn from, where WordNet writes."""


class NoTurn(StrEnum):
    """Why a row has no further turn."""

    NO_CAPTION = "no_caption"
    NO_FURTHER_EDIT = "no_further_edit"


class WriteTurns(MapStage):
    """The turns of a session after its first edit, by a language model or by WordNet."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("target_caption",)
    reads_if_present: ClassVar = ("source_caption",)
    writes: ClassVar = ("further_turns",)
    rejects: ClassVar = NoTurn
    needs: ClassVar = Needs(gpu=1.0, memory_bytes=2 << 30, packages=("wordfreq", "inflect"))
    uses_rng: ClassVar = True

    model: Annotated[str | None, Serves(TextGenerator)] = None
    """A TextGenerator that writes the turns: `zoo:llm`, `openai:MODEL@URL` …"""
    lexicon: Annotated[str | None, Serves(WordNet)] = None
    """WordNet version that writes them without a model, and where no answer of the model passed: `wordnet:3.0`."""
    num_turns: int = Field(default=3, ge=2)
    """Most turns of a session, the first edit included."""
    shares: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Type of edit -> weight of its draw, for the model."""
    examples: Annotated[str | None, Serves(EditExamples)] = None
    """Set of examples that prompts are made of: `examples:photographs`, `path:FILE.jsonl`, or none."""
    num_instructions: int = Field(default=0, ge=0)
    """Sampled instructions in a prompt."""
    num_examples: int = Field(default=0, ge=0)
    """Sampled whole examples in a prompt."""
    repeats_caption: bool = False
    """Ask for the caption in the answer, first. Without it, very small models edit the captions of the examples."""
    temperature: float = Field(default=0.7, gt=0)
    """Of the draw of tokens."""
    max_new_tokens: int = Field(default=200, ge=1)
    """Longest answer."""
    max_retries: int = Field(default=2, ge=0)
    """How often an edit is asked for anew, with another seed."""

    @model_validator(mode="after")
    def _has_a_writer(self) -> Self:
        if self.model is None and self.lexicon is None:
            raise ValueError("nobody writes the turns: set model, lexicon or both")
        if self.model is not None and not self.shares:
            raise ValueError("a model is asked for types of edit: set shares, as in { change_colour = 1, add = 1 }")
        if self.examples is None and (self.num_instructions or self.num_examples):
            raise ValueError("without examples set num_instructions = 0 and num_examples = 0, or name a set")
        return self

    def open(self, ctx: Context) -> BatchFn:
        """Load the model and its examples, or the lexicon, once."""
        writers: list[TurnWriter] = []
        if self.model is not None:
            examples = EditExamples(()) if self.examples is None else ctx.load(EditExamples, self.examples)
            writers.append(ModelTurns(ctx.load(TextGenerator, self.model), self._asking(examples), ctx.notes))
        if self.lexicon is not None:
            sisters = Sisters(wordnet=ctx.load(WordNet, self.lexicon))
            writers.append(WordnetTurns(EditFinder(sisters, WORDNET_OPTIONS)))
        writer = FirstThatWrites(writers)

        def write(batch: pa.Table) -> pa.Table:
            rows = batch.select(
                [n for n in (SAMPLE_ID, *self.reads, *self.reads_if_present) if n in batch.column_names]
            )
            sessions = [self._session(row, ctx) for row in rows.to_pylist()]
            write_further(writer, [one for one in sessions if one is not None], self.num_turns)
            return with_rows(batch, [_row(one, ctx.notes) for one in sessions], self.writes)

        return write

    def _session(self, row: Row, ctx: Context) -> SessionTexts | None:
        """The session of a row before its further turns, or None for a row without target caption."""
        captions = [" ".join((row.get(name) or "").split()) for name in ("source_caption", "target_caption")]
        if not captions[-1]:
            return None
        return SessionTexts(captions=[one for one in captions if one], rng=ctx.rng(row[SAMPLE_ID]))

    def _asking(self, examples: EditExamples) -> TurnAsking:
        asking = Asking(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, max_retries=self.max_retries,
            max_repairs=0, lengths=Lengths(), edit_types=tuple(self.shares), repeats_caption=self.repeats_caption,
        )  # fmt: skip
        return TurnAsking(
            asking=asking, shares=self.shares, examples=examples.edits, num_instructions=self.num_instructions,
            num_examples=self.num_examples,
        )  # fmt: skip


def _row(session: SessionTexts | None, notes: Counter[str]) -> Row:
    if session is None:
        return {REJECT_REASON: NoTurn.NO_CAPTION.value, REJECT_DETAIL: "no target_caption"}
    if not session.turns:
        return {REJECT_REASON: NoTurn.NO_FURTHER_EDIT.value, REJECT_DETAIL: session.captions[-1][:200]}
    notes["sessions"] += 1
    notes[f"sessions: {len(session.turns) + 1} turns"] += 1
    return {"further_turns": session.turns}
