"""Carry out the further edits of each row on its target, one after another: sessions of several turns.

Each turn edits the image that the last one left. A session also gives pairs that skip turns (compositions) and pairs
that undo one (inverses). All of them are new pairs, so no later stage gets what described the first one: scores, masks,
regions, latents. Place the stages that make these, and `select`, after this one.

Reads   source_images (list<binary>), source_format (string), target_image (binary), target_format (string),
        source_caption (string), target_caption (string), instruction (string), further_turns (list<struct>), and of the
        first edit, where they are there, reverse_instruction (string), edit_type (string), source_phrase (string),
        target_phrase (string), edit_object (string), edit_writer (string), edit_model (string), synthesis_seed (int64),
        edit_input_tokens (int64), edit_output_tokens (int64)
Writes  source_images (list<binary>), source_format (string), source_dhash (uint64), width_px (int32),
        height_px (int32), target_image (binary), target_format (string), source_caption (string),
        target_caption (string), instruction (string), reverse_instruction (string), edit_type (string),
        source_phrase (string), target_phrase (string), edit_object (string), edit_writer (string): the pair and its
        texts;
        session_id (string), turn (int32), pair_kind (string): its place in the session;
        edit_model (string), synthesis_seed (int64), edit_input_tokens (int64), edit_output_tokens (int64): how the
        image of a turn was made; session_l1 (float32, 0 to 1), session_outside_l1 (float32, 0 to 1),
        session_image_cos (float32, cosine; no value without `encoder`): drift from the session's first source
Drops   sessions of fewer turns than `min_turns`, by what ended them: the editor's fault (missing_field, refused,
        no_image, no_change), a bound on the drift (drifted), no further turn was written (no_further_turn)
Source  Zhang et al. 2023, MagicBrush: turns from the editor's own outputs; BAGEL's data for compositions; Hui et al.
        2024, HQ-Edit, for inverse pairs. The measure of drift and the check of compositions are chosen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from models import registry
from models.protocols import Editor, ImageEncoder
from pipeline.stage import MODEL_NEEDS, Needs, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, expanded_schema
from stages.editing.settings import EditingStage
from stages.pair_scores.bounds import BoundsTable  # noqa: TC001  pydantic needs it to make the class
from stages.sessions.chain import Chain, Session
from stages.sessions.drift import IMAGE_SCORE, SESSION_SCORES
from stages.sessions.kept_columns import KEPT_COLUMNS
from stages.sessions.pairs import INVERTIBLE, TEXTS
from stages.sessions.rows import MADE, session_of, session_rows

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class NoSession(StrEnum):
    """Why a row gave no session."""

    MISSING_FIELD = "missing_field"  # a turn lacks what the editor needs
    REFUSED = "refused"  # the server did not accept the request
    NO_IMAGE = "no_image"  # the answer is no image that can be used
    NO_CHANGE = "no_change"  # every pixel is that of the source
    DRIFTED = "drifted"  # a turn is beyond a bound
    NO_FURTHER_TURN = "no_further_turn"  # the row has fewer turns


class ChainEdits(EditingStage):
    """Sessions: a row for each turn, and for each composition and inverse that the captions allow."""

    version: ClassVar[int] = 2
    reads: ClassVar = (
        "source_images", "source_format", "target_image", "target_format", "source_caption", "target_caption",
        "instruction", "further_turns",
    )  # fmt: skip
    reads_if_present: ClassVar = (
        "reverse_instruction", "edit_type", "source_phrase", "target_phrase", "edit_object", "edit_writer", *MADE,
    )  # fmt: skip
    writes: ClassVar = (
        "source_images", "source_format", "source_dhash", "width_px", "height_px", "target_image", "target_format",
        *TEXTS, "session_id", "turn", "pair_kind", *MADE, *SESSION_SCORES,
    )  # fmt: skip
    rejects: ClassVar = NoSession
    needs: ClassVar = Needs(gpu=1.0, memory_bytes=MODEL_NEEDS.memory_bytes, packages=("imagehash",))

    min_turns: int = Field(default=2, ge=1)
    """Least turns of a session that is kept; the first edit counts."""
    further_pairs: tuple[Literal["composition", "inverse"], ...] = Field(
        default=("composition", "inverse"), strict=False
    )
    """Pairs that are made besides the turns."""
    inverse_types: tuple[str, ...] = Field(default=INVERTIBLE, strict=False)
    """Types of edit that can be undone in words; a turn of another type gives no inverse."""
    encoder: Annotated[str | None, Serves(ImageEncoder, only_scores=True)] = None
    """An ImageEncoder for `session_image_cos`: `zoo:dino`, `hf:facebook/dinov2-with-registers-large@<commit>` …"""
    asked_l1: float = Field(default=0.08, ge=0, le=1)
    """Mean difference of a block of 8 x 8 px within one turn above which the turn asked for it: it is no drift."""
    bounds: BoundsTable = Field(default_factory=dict)
    """Score of a session -> least and greatest value; a session ends before the turn that is beyond. Loose bounds save
    edits; `select` can bound the same columns without a new edit."""

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        if unknown := [name for name in self.bounds if name not in SESSION_SCORES]:
            raise ValueError(f"bounds.{unknown[0]}: expected a score of a session ({', '.join(SESSION_SCORES)})")
        if IMAGE_SCORE in self.bounds and self.encoder is None:
            raise ValueError(f"a bound on {IMAGE_SCORE} needs encoder: name an ImageEncoder")
        return self

    @model_validator(mode="after")
    def _suits_later_turns(self) -> Self:
        kind = registry.editor_class_if_here(self.model)
        if kind is not None and (lacking := sorted({"mask", "examples"} & kind.needs)):
            raise ValueError(
                f"editor {self.model} needs {', '.join(lacking)}, which later turns have not; name another"
            )
        return self

    def needs_columns(self) -> tuple[str, ...]:
        """None besides `reads`: later turns have the texts of `further_turns`."""
        return ()

    def writes_empty(self) -> tuple[str, ...]:
        """The cosine without an encoder."""
        return () if self.encoder else (IMAGE_SCORE,)

    def outdates(self, name: str) -> bool:
        """True for what described the first pair."""
        return name not in KEPT_COLUMNS

    def open(self, ctx: Context) -> BatchFn:
        """Load the models once."""
        chain = Chain(
            editor=ctx.load(Editor, self.model, settings=self.editor_settings()),
            encoder=ctx.load(ImageEncoder, self.encoder) if self.encoder else None, model_id=self.model,
            image_format=self.format, quality=self.quality, asked_l1=self.asked_l1, bounds=self.bounds, notes=ctx.notes,
        )  # fmt: skip
        schema = expanded_schema(self.writes)

        def run(batch: pa.Table) -> pa.Table:
            known = [name for name in (*self.reads, *self.reads_if_present) if name in batch.column_names]
            rows = batch.select([SAMPLE_ID, *known]).to_pylist()
            sessions = [session_of(row, ctx.rng(row[SAMPLE_ID])) for row in rows]
            chain.run(sessions)
            made = [row for session in sessions for row in self._rows(session, ctx)]
            return pa.Table.from_pylist(made, schema)

        return run

    def _rows(self, session: Session, ctx: Context) -> list[dict[str, Any]]:
        """The pairs of a session, or the reject of one that is too short."""
        reason, detail = session.ended or (NoSession.NO_FURTHER_TURN.value, f"{len(session.turns)} turns")
        ctx.notes["sessions"] += 1
        if session.ended:
            ctx.notes[f"sessions: ended early, {reason}"] += 1
        if len(session.turns) < self.min_turns:
            return [{SAMPLE_ID: session.sample_id, REJECT_REASON: reason, REJECT_DETAIL: detail}]
        return session_rows(session, self.further_pairs, self.inverse_types, ctx.notes)
