"""The settings of stages that synthesise pairs, and what they order of the model."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from core.settings import Settings
from models.protocols import ImageEncoder, ImageTextEncoder, PairRequest, PairSynthesizer
from pipeline.stage import MODEL_NEEDS, ExpandStage, Needs, Serves
from stages.candidates.draws import Draws
from stages.candidates.words import words_in
from stages.pair_scores.bounds import BoundsTable  # noqa: TC001  pydantic needs it to make the class
from stages.pair_scores.filters import FilterName, with_filter
from stages.pair_scores.scores import DINO_SCORE, PAIR_SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from models.protocols import Bools

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


class SynthesisStage(ExpandStage):
    """Base of stages that draw pairs until enough of them pass. A subclass says in `open` what is drawn over what."""

    rejects: ClassVar = NoPair
    uses_rng: ClassVar = True
    needs: ClassVar = Needs(gpu=1.0, memory_bytes=MODEL_NEEDS.memory_bytes, packages=("imagehash",))

    model: Annotated[str, Serves(PairSynthesizer)]
    """A PairSynthesizer: `zoo:sd`, `hf:stabilityai/sdxl-turbo@<commit>` …"""
    encoder: Annotated[str, Serves(ImageTextEncoder, only_scores=True)]
    """The ImageTextEncoder that scores: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""
    image_encoder: Annotated[str | None, Serves(ImageEncoder, only_scores=True)] = None
    """The ImageEncoder of `pair_dino_cos`: `zoo:dino`, `hf:facebook/dinov2-with-registers-large@<commit>` …"""
    size_px: int | None = Field(default=None, ge=8)
    """Longer side at which the model draws; none: the side that it was made for. Pairs have the anchor's size."""
    shares_noise: bool = True
    """Whether both images of a pair are drawn from the same noise, that of ancestral steps included."""
    max_self_tokens: int | None = Field(default=None, ge=0)
    """Attention within the image is shared in layers of at most so many queries; none: a sixteenth of the latent."""
    attention_edit: Literal["refine", "replace"] = "refine"
    """refine: words that both captions have share their attention; replace: words at one place of captions that have as
    many words do."""
    target_weight: float = Field(default=1.0, ge=0)
    """Factor of the attention to the words of target_phrase."""
    local_blend: bool = False
    """Whether the target is kept as the source where neither source_phrase nor target_phrase is attended to."""
    blend_grid: int | None = Field(default=None, ge=1)
    """Latent pixels, along each side, for one place of the maps that lead the local blend; none: the model's own."""
    as_released: bool = False
    """Whether the attention is that of UltraEdit's released code, with its faults: no words are shared within most
    pairs, and what is shared depends on the batch. Of the settings above only the sizes are obeyed."""
    num_steps: tuple[int, ...] = Field(default=(3, 5, 8), min_length=1, strict=False)
    """Steps from pure noise, of which one is drawn for each candidate; `strength` of them are run, at least 1."""
    strength: float = Field(default=0.6, gt=0, le=1)
    """How far the anchor is noised."""
    guidance_scale: tuple[float, float] = Field(default=(0.0, 0.0), strict=False)
    """Range of the weight of the captions; 1 or less is no guidance."""
    attention_frac: tuple[float, float] = Field(default=(0.1, 0.9), strict=False)
    """Range of the share of the steps in which the target has the source's attention, across and within the image."""
    keep: int = Field(default=4, ge=1)
    """Pairs after which the search of an edit ends: the first that pass, by the number of the candidate."""
    max_candidates: int = Field(default=30, ge=1)
    """Candidates after which it ends in any case."""
    preset: FilterName | None = "ultraedit-free"
    """A published filter (`ultraedit-free`, `ultraedit-region`, `instruct-pix2pix`); `bounds` replaces those of
    the same scores."""
    bounds: BoundsTable = Field(default_factory=dict)
    """Score -> least and greatest value of a pair that passes: `bounds.outside_ssim = { min = 0.9 }`."""
    keep_anchor: bool = True
    """Whether the anchor is stored beside the pair."""
    format: Literal["jpg", "png", "webp"] = "png"
    """Encoding of the images. Scores are those of the images as they are stored."""
    quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG and WebP; PNG is lossless."""
    speed: WaveSpeed = WaveSpeed()

    @field_validator("num_steps", "guidance_scale", "attention_frac")
    @classmethod
    def _can_be_drawn(cls, found: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        least, greatest = {"num_steps": (1, math.inf), "guidance_scale": (0, math.inf)}.get(
            info.field_name or "", (0, 1)
        )
        if not all(least <= one <= greatest for one in found):
            raise ValueError(f"expected numbers from {least} to {greatest:g}")
        if info.field_name != "num_steps" and found[0] > found[1]:
            raise ValueError("expected the lower end first")
        return found

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

    def needs_columns(self) -> tuple[str, ...]:
        """The phrases, where the settings use them."""
        if self.local_blend:
            return "source_phrase", "target_phrase"
        return ("target_phrase",) if self.target_weight != 1 else ()

    def writes_empty(self) -> tuple[str, ...]:
        """The score of the image encoder, without one."""
        return () if self.image_encoder else (DINO_SCORE,)

    def drawing(self) -> dict[str, Any]:
        """The settings of the synthesizer. What is left to it is not among them."""
        found = {
            "size_px": self.size_px, "shares_noise": self.shares_noise, "max_self_tokens": self.max_self_tokens,
            "blend_grid": self.blend_grid, "as_released": self.as_released,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    def request(
        self, row: Mapping[str, Any], anchor: Image | None, region: Bools | None = None, core: Bools | None = None
    ) -> PairRequest:
        """What the synthesizer is asked for. Words of a phrase that are not in their caption are left out."""
        source, target = row["source_caption"] or "", row["target_caption"] or ""
        wanted = words_in(row["target_phrase"], target) if self.needs_columns() else []
        weights = dict.fromkeys(wanted, self.target_weight) if self.target_weight != 1 else {}
        blend = (words_in(row["source_phrase"], source), wanted) if self.local_blend else ([], [])
        return PairRequest(
            source_caption=source, target_caption=target, anchor=anchor, region=region, core=core,
            edit=self.attention_edit, word_weights=weights,
            blend_words=(" ".join(blend[0]), " ".join(blend[1])) if any(blend) else None,
        )  # fmt: skip

    def draws(self) -> Draws:
        """What is drawn for a candidate."""
        return Draws(
            num_steps=self.num_steps, strength=self.strength, guidance_scale=self.guidance_scale,
            attention_frac=self.attention_frac,
        )  # fmt: skip
