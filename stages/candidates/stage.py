"""The settings, the search and the rows of stages that synthesise pairs. Such a stage says what is drawn over what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from core.settings import Settings
from models.protocols import ImageEncoder, ImageTextEncoder, PairSynthesizer
from pipeline.stage import MODEL_NEEDS, ExpandStage, Needs, Serves
from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, arrow_schema
from stages.candidates.draws import Draws
from stages.candidates.rows import pair_rows, rejected_row
from stages.candidates.search import Search
from stages.candidates.trials import Edit
from stages.pair_scores.bounds import BoundsTable  # noqa: TC001  pydantic needs it to make the class
from stages.pair_scores.filters import FilterName, with_filter
from stages.pair_scores.scores import DINO_SCORE, PAIR_SCORES, score_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.protocols import PairRequest
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.candidates.rows import Row
    from stages.candidates.trials import Trial

SYNTHESIS_READS = ("source_images", "source_format", "source_caption", "target_caption")
SYNTHESIS_WRITES = (
    "source_images", "source_format", "source_dhash", "target_image", "target_format", "width_px", "height_px",
    "anchor_id", "anchor_image", "anchor_format", "candidate_number", "synthesis_seed", "synthesis_num_steps",
    "synthesis_strength", "synthesis_guidance_scale", "attention_frac", *PAIR_SCORES, "candidates",
)  # fmt: skip
"""Columns that every stage of synthesis writes."""


class NoPair(StrEnum):
    """Why an edit gave no pair."""

    NO_CANDIDATE_PASSED = "no_candidate_passed"


class WaveSpeed(Settings):
    """Settings that decide memory and speed and no result: left out of the fingerprint."""

    pairs_per_wave: int = Field(default=32, ge=1)
    """Pairs drawn and scored at a time, of as many edits as it takes. Their images are in memory together."""


def _check_range(found: tuple[float, float]) -> tuple[float, float]:
    if found[0] > found[1]:
        raise ValueError("expected the lower end first")
    return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairModels:
    """The models of a stage of synthesis."""

    synthesizer: PairSynthesizer
    encoder: ImageTextEncoder
    image_encoder: ImageEncoder | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Order:
    """An edit as a stage orders it: what its candidates share, and the anchor's file where that is their source."""

    request: PairRequest
    source_file: bytes | None = None


Frac = Annotated[float, Field(ge=0, le=1)]
FracRange = Annotated[tuple[Frac, Frac], AfterValidator(_check_range)]
Scale = Annotated[float, Field(ge=0)]
ScaleRange = Annotated[tuple[Scale, Scale], AfterValidator(_check_range)]
Steps = Annotated[int, Field(ge=1)]


class SynthesisStage(ExpandStage):
    """Base of stages that draw pairs until enough of them pass. A subclass implements `open` with `expander`."""

    rejects: ClassVar = NoPair
    uses_rng: ClassVar = True
    needs: ClassVar = Needs(gpu=1.0, memory_bytes=MODEL_NEEDS.memory_bytes, packages=("imagehash",))

    model: Annotated[str, Serves(PairSynthesizer)]
    """A PairSynthesizer: `zoo:sd`, `hf:stabilityai/sdxl-turbo@<commit>` …"""
    encoder: Annotated[str, Serves(ImageTextEncoder)]
    """The ImageTextEncoder that scores: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""
    image_encoder: Annotated[str | None, Serves(ImageEncoder)] = None
    """The ImageEncoder of `pair_dino_cos`: `zoo:dino`, `hf:facebook/dinov2-with-registers-large@<commit>` …"""
    size_px: int | None = Field(default=None, ge=8)
    """Longer side at which the model draws; none: the side that it was made for. Pairs have the anchor's size."""
    shares_noise: bool = True
    """Whether both images of a pair are drawn from the same noise, that of ancestral steps included."""
    max_self_tokens: int | None = Field(default=None, ge=0)
    """Attention within the image is shared in layers of at most so many queries; none: a sixteenth of the latent."""
    num_steps: tuple[Steps, ...] = Field(default=(3, 5, 8), min_length=1, strict=False)
    """Steps from pure noise, of which one is drawn for each candidate; `strength` of them are run, rounded down."""
    strength: float = Field(default=0.6, gt=0, le=1)
    """How far the anchor is noised."""
    guidance_scale: ScaleRange = Field(default=(0.0, 0.0), strict=False)
    """Range of the weight of the captions; 1 or less is no guidance."""
    attention_frac: FracRange = Field(default=(0.1, 0.9), strict=False)
    """Range of the share of the steps in which the target has the source's attention, across and within the image."""
    keep: int = Field(default=4, ge=1)
    """Pairs after which the search of an edit ends: the first that pass, by the number of the candidate."""
    max_candidates: int = Field(default=30, ge=1)
    """Candidates after which it ends in any case."""
    preset: FilterName | None = "ultraedit-free"
    """A published filter, whose bounds those of the same columns in `bounds` replace."""
    bounds: BoundsTable = Field(default_factory=dict)
    """Score -> least and greatest value of a pair that passes: `bounds.outside_ssim = { min = 0.9 }`."""
    keep_anchor: bool = True
    """Whether the anchor is stored beside the pair."""
    format: Literal["jpg", "png", "webp"] = "png"
    """Encoding of the images. Scores are those of the images as they are stored."""
    quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG and WebP; PNG is lossless."""
    speed: WaveSpeed = WaveSpeed()

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        bounds = with_filter(self.preset, self.bounds)
        if unknown := [name for name in bounds if name not in PAIR_SCORES]:
            raise ValueError(f"bounds.{unknown[0]}: expected a score of a pair ({', '.join(PAIR_SCORES)})")
        if DINO_SCORE in bounds and self.image_encoder is None:
            raise ValueError(
                f"a bound on {DINO_SCORE} needs image_encoder: name one, or use a preset without it "
                '(`preset = "none"` and all bounds in `bounds`)'
            )
        return self

    def drawing(self) -> dict[str, Any]:
        """The settings of the synthesizer."""
        return {"size_px": self.size_px, "shares_noise": self.shares_noise, "max_self_tokens": self.max_self_tokens}

    def draws(self) -> Draws:
        """What is drawn for a candidate."""
        return Draws(
            num_steps=self.num_steps, strength=self.strength, guidance_scale=self.guidance_scale,
            attention_frac=self.attention_frac,
        )  # fmt: skip

    def expander(
        self,
        ctx: Context,
        models: PairModels,
        order_of: Callable[[Row], Order],
        columns_of: Callable[[Row, Trial], Row],
    ) -> BatchFn:
        """The stage's function. `order_of` is called once a row, `columns_of` for the further columns of each pair."""
        search = self._search(models)
        draws = self.draws()
        schema = arrow_schema((SAMPLE_ID, PARENT_ID, *self.writes))
        schema = schema.append(pa.field(REJECT_REASON, pa.string())).append(pa.field(REJECT_DETAIL, pa.string()))

        def expand(batch: pa.Table) -> pa.Table:
            edits: list[Edit] = []

            def opened() -> Iterator[Edit]:
                for row in _rows(batch):
                    order, rng = order_of(row), ctx.rng(row[SAMPLE_ID])
                    candidates = draws.candidates(rng, has_ring=order.request.core is not None)
                    edits.append(Edit(request=order.request, source_file=order.source_file, candidates=candidates))
                    yield edits[-1]

            search.run(opened())
            rows = [
                made
                for row, edit in zip(_rows(batch), edits, strict=True)
                for made in self._made(row, edit, columns_of)
            ]
            return pa.Table.from_pylist(rows, schema)

        return expand

    def _search(self, models: PairModels) -> Search:
        return Search(
            synthesizer=models.synthesizer, encoder=models.encoder,
            steps=score_steps(models.encoder, models.image_encoder), bounds=with_filter(self.preset, self.bounds),
            keep=self.keep, max_candidates=self.max_candidates,
            pairs_per_wave=self.speed.pairs_per_wave, format=self.format, quality=self.quality,
        )  # fmt: skip

    def _made(self, row: Row, edit: Edit, columns_of: Callable[[Row, Trial], Row]) -> list[Row]:
        parent_id = row[SAMPLE_ID]
        if not edit.kept:
            return [rejected_row(parent_id, edit, NoPair.NO_CANDIDATE_PASSED.value)]
        source_format = row["source_format"] if edit.source_file else self.format
        pairs = pair_rows(parent_id, edit, source_format=source_format, target_format=self.format)
        return [{**pair, **columns_of(row, trial)} for pair, trial in pairs]


def _rows(batch: pa.Table) -> Iterator[Row]:
    """The rows one at a time, so that the pixels of one are copied at a time."""
    for start in range(batch.num_rows):
        yield from batch.slice(start, 1).to_pylist()
