"""Draw pairs that differ inside of a region only, over a photograph or onto it, until enough pairs pass the filter.

Reads   source_images (list<binary>), source_format (string), source_caption (string), target_caption (string),
        region_mask_png (binary), core_mask_png (binary), and source_phrase and target_phrase for `local_blend` and
        `target_weight`
Writes  source_images (list<binary>), source_format (string), source_dhash (uint64), target_image (binary),
        target_format (string), width_px (int32), height_px (int32): the pair;
        anchor_id (string), anchor_image (binary), anchor_format (string): the photograph that it was drawn over;
        candidate_number (int32), synthesis_seed (int64), synthesis_num_steps (int32), synthesis_strength (float32),
        synthesis_guidance_scale (float32), attention_frac (float32), soft_ring_frac (float32), soft_mask_png (binary):
        how it was drawn;
        source_caption_cos (float32), target_caption_cos (float32), target_margin_cos (float32),
        pair_image_cos (float32), pair_direction_cos (float32), pair_dino_cos (float32), pair_ssim (float32),
        pair_l1 (float32), outside_ssim (float32), outside_l1 (float32): as `score_edit` would; the last two have no
        value where the region is all; candidates (list<struct>): settings and scores of all candidates, on the first
        pair of an edit
Drops   edits of which no candidate passes (no_candidate_passed; the detail counts them by bound)
Source  Zhao et al. 2024, UltraEdit, section 2.4, with the settings of its released script for region pairs
        (HaozheZhao/UltraEdit at 1af5f04). Chosen: the end at `keep` pairs, and that the anchor is put back after the
        last step, which the released code leaves out for an odd number of steps; `source = "photograph"`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from models.protocols import ImageEncoder, ImageTextEncoder, PairSynthesizer
from samples.stored_images import MAX_MADE_PIXELS, encoded_image, mask_array, rgb_image
from stages.candidates.expand import Expansion, Order, PairModels, expander
from stages.candidates.rows import anchor_columns
from stages.candidates.stage import SYNTHESIS_READS, SYNTHESIS_WRITES, SynthesisStage
from stages.pair_scores.filters import FilterName  # noqa: TC001  pydantic needs it to make the class

if TYPE_CHECKING:
    from models.protocols import Bools
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.candidates.rows import Row
    from stages.candidates.trials import Trial


class SynthesiseRegion(SynthesisStage):
    """Pairs that are alike outside of `region_mask_png`, which is all of the image where the whole is meant."""

    version: ClassVar[int] = 1
    reads: ClassVar = (*SYNTHESIS_READS, "region_mask_png", "core_mask_png")
    writes: ClassVar = (*SYNTHESIS_WRITES, "soft_ring_frac", "soft_mask_png")

    num_steps: tuple[int, ...] = Field(default=(10, 14), min_length=1, strict=False)
    """Steps from pure noise, of which one is drawn for each candidate; `strength` of them are run, at least 1."""
    strength: float = Field(default=0.3, gt=0, le=1)
    """How far the anchor is noised."""
    keep: int = Field(default=3, ge=1)
    """Pairs after which the search of an edit ends: the first that pass, by the number of the candidate."""
    max_candidates: int = Field(default=100, ge=1)
    """Candidates after which it ends in any case."""
    preset: FilterName | None = "ultraedit-region"
    """A published filter (`ultraedit-free`, `ultraedit-region`, `instruct-pix2pix`); `bounds` replaces those of
    the same scores."""
    source: Literal["drawn", "photograph"] = "drawn"
    """drawn: both images are drawn over the photograph; photograph: it is the source itself, as stored."""
    ring_values: tuple[float, ...] = Field(default=(0.0, 0.1, 0.3, 0.5, 0.7, 0.8), strict=False)
    """How much of the soft ring, which is in region_mask_png and not in core_mask_png, is made anew: one is drawn for a
    candidate with a soft ring."""
    ring_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the candidates with a soft ring; in the others the ring is made anew as the core is, and with
    `as_released` not at all."""
    blend_steps: Literal["every", "odd", "even"] = "odd"
    """Steps, counted from 0, after which the photograph is put back outside of the region."""
    blends_last: bool = True
    """Whether the photograph is put back after the last step in any case."""
    keeps_outside: bool = True
    """Whether pixels outside of the region are copied from the photograph at the end. `as_released` obeys neither
    this nor the two settings above."""

    @model_validator(mode="after")
    def _can_be_drawn_so(self) -> Self:
        if self.as_released and self.source == "photograph":
            raise ValueError('as_released draws both images: it cannot be asked for with source = "photograph"')
        return self

    @field_validator("ring_values")
    @classmethod
    def _are_shares(cls, found: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= one <= 1 for one in found):
            raise ValueError("expected numbers from 0 to 1")
        return found

    def open(self, ctx: Context) -> BatchFn:
        """Load the models once."""
        models = PairModels(
            synthesizer=ctx.load(
                PairSynthesizer, self.model, **self.drawing(), source=self.source, blend_steps=self.blend_steps,
                blends_last=self.blends_last, keeps_outside=self.keeps_outside,
            ),
            encoder=ctx.load(ImageTextEncoder, self.encoder),
            image_encoder=ctx.load(ImageEncoder, self.image_encoder) if self.image_encoder else None,
        )  # fmt: skip
        draws = replace(self.draws(), ring_values=self.ring_values, ring_share=self.ring_share)
        own = Expansion(models=models, draws=draws, order_of=self._order, columns_of=self._columns)
        return expander(self, ctx, own)

    def _order(self, row: Row) -> Order:
        region, core = mask_array(row["region_mask_png"]), mask_array(row["core_mask_png"])
        anchor = rgb_image(row["source_images"][0], MAX_MADE_PIXELS)
        request = self.request(row, anchor, region, core if (region & ~core).any() else None)
        return Order(request=request, source_file=row["source_images"][0] if self.source == "photograph" else None)

    def _columns(self, row: Row, trial: Trial) -> Row:
        drawn = trial.candidate.ring_frac
        ring = 0.0 if drawn is None and self.as_released else drawn
        soft = soft_mask_png(mask_array(row["region_mask_png"]), mask_array(row["core_mask_png"]), ring)
        return anchor_columns(row, is_stored=self.keep_anchor) | {"soft_ring_frac": drawn, "soft_mask_png": soft}


def soft_mask_png(region_HW: Bools, core_HW: Bools, ring_frac: float | None) -> bytes:
    """How much of each place is made anew, as an 8-bit grey PNG: 255 in the core, 255 x `ring_frac` in the ring."""
    from PIL import Image

    ring = 255 if ring_frac is None else round(255 * ring_frac)
    soft_HW = np.where(region_HW, np.where(core_HW, 255, ring), 0).astype(np.uint8)
    return encoded_image(Image.fromarray(soft_HW), "png", 100)
