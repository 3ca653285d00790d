"""Draw source and target of each edit over a photograph, by prompt-to-prompt, until enough pairs pass the filter.

Reads   source_images (list<binary>), source_format (string), source_caption (string), target_caption (string), and
        source_phrase and target_phrase for `local_blend` and `target_weight`
Writes  source_images (list<binary>), source_format (string), source_dhash (uint64), target_image (binary),
        target_format (string), width_px (int32), height_px (int32): the pair;
        anchor_id (string), anchor_image (binary), anchor_format (string): the photograph that it was drawn over;
        candidate_number (int32), synthesis_seed (int64), synthesis_num_steps (int32), synthesis_strength (float32),
        synthesis_guidance_scale (float32), attention_frac (float32): how it was drawn;
        source_caption_cos (float32), target_caption_cos (float32), target_margin_cos (float32),
        pair_image_cos (float32), pair_direction_cos (float32), pair_dino_cos (float32), pair_ssim (float32),
        pair_l1 (float32), outside_ssim (float32), outside_l1 (float32): as `score_edit` would, the last two without
        value; candidates (list<struct>): settings and scores of all candidates, on the first pair of an edit
Drops   edits of which no candidate passes (no_candidate_passed; the detail counts them by bound)
Source  Zhao et al. 2024, UltraEdit, sections 2.2 and 2.3, with the settings of its released script for free-form pairs
        (HaozheZhao/UltraEdit at 1af5f04); Hertz et al. 2022, Prompt-to-Prompt. The end at `keep` pairs is chosen: the
        released code draws all candidates and keeps the best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from models.protocols import ImageEncoder, ImageTextEncoder, PairSynthesizer
from samples.stored_images import MAX_MADE_PIXELS, rgb_image
from stages.candidates.expand import Expansion, Order, PairModels, expander
from stages.candidates.rows import anchor_columns
from stages.candidates.stage import SYNTHESIS_READS, SYNTHESIS_WRITES, SynthesisStage
from stages.pair_scores.scores import OUTSIDE_SCORES

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.candidates.rows import Row
    from stages.candidates.trials import Trial


class SynthesisePair(SynthesisStage):
    """Pairs that differ as their captions do, and look like the photograph that they were drawn over."""

    version: ClassVar[int] = 1
    reads: ClassVar = SYNTHESIS_READS
    writes: ClassVar = SYNTHESIS_WRITES

    anchor: Literal["source", "none"] = "source"
    """source: the source image is noised by `strength` and drawn anew; none: pairs are drawn from noise alone, which
    takes a `strength` of 1."""

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        if self.anchor == "none" and self.strength != 1:
            raise ValueError(f'anchor = "none" draws from noise alone: expected strength = 1.0, got {self.strength}')
        return self

    @model_validator(mode="after")
    def _is_bounded_by_what_is_measured(self) -> Self:
        if unmeasured := [name for name in OUTSIDE_SCORES if name in self.bounds]:
            raise ValueError(
                f"bounds.{unmeasured[0]}: these pairs have no region to be outside of; leave the bound out, "
                "or use synthesise_region"
            )
        return self

    def writes_empty(self) -> tuple[str, ...]:
        """Scores outside of a region too: there is none."""
        return (*super().writes_empty(), *OUTSIDE_SCORES)

    def open(self, ctx: Context) -> BatchFn:
        """Load the models once."""
        models = PairModels(
            synthesizer=ctx.load(PairSynthesizer, self.model, **self.drawing()),
            encoder=ctx.load(ImageTextEncoder, self.encoder),
            image_encoder=ctx.load(ImageEncoder, self.image_encoder) if self.image_encoder else None,
        )
        own = Expansion(models=models, draws=self.draws(), order_of=self._order, columns_of=self._columns)
        return expander(self, ctx, own)

    def _order(self, row: Row) -> Order:
        is_anchored = self.anchor == "source"
        anchor = rgb_image(row["source_images"][0], MAX_MADE_PIXELS) if is_anchored else None
        return Order(request=self.request(row, anchor))

    def _columns(self, row: Row, trial: Trial) -> Row:  # noqa: ARG002  all candidates have one anchor
        return anchor_columns(row, is_stored=self.keep_anchor) if self.anchor == "source" else {}
