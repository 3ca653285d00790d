"""Score a pair by all that tells whether the edit is there and nothing else changed.

Reads   source_images (list<binary>), target_image (binary), source_caption (string), target_caption (string), and
        region_mask_png (binary) where there is one
Writes  source_caption_cos (float32, cosine), target_caption_cos (float32, cosine), target_margin_cos (float32, what the
        target's own caption fits better than the source's), pair_image_cos (float32, cosine),
        pair_direction_cos (float32, cosine of the difference of the images and that of the captions),
        pair_dino_cos (float32, cosine of the images; no value without `image_encoder`), pair_ssim (float32, -1 to 1),
        pair_l1 (float32, 0 to 1; near 0 the edit does nothing), outside_ssim (float32, -1 to 1) and
        outside_l1 (float32, 0 to 1) outside of the region; no value where there is no region or it is all
Drops   nothing: `select` owns thresholds, so moving one never reruns a model
Source  Brooks et al. 2023, InstructPix2Pix, section 3.1.2; Zhao et al. 2024, UltraEdit, whose filter adds DINOv2 and
        SSIM; scores outside of the region are chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa

from models.protocols import ImageEncoder, ImageTextEncoder
from pipeline.stage import MapStage, Serves
from samples.columns import column
from samples.stored_images import first_images, mask_array, rgb_images
from stages.pair_scores.scores import DINO_SCORE, PAIR_SCORES, Pair, Scores, score_steps

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class ScoreEdit(MapStage):
    """The scores that filter synthetic pairs, for pairs from anywhere. Images of two sizes have no scores of pixels."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "target_image", "source_caption", "target_caption")
    reads_if_present: ClassVar = ("region_mask_png",)
    writes: ClassVar = PAIR_SCORES

    encoder: Annotated[str, Serves(ImageTextEncoder)]
    """An ImageTextEncoder: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""
    image_encoder: Annotated[str | None, Serves(ImageEncoder)] = None
    """An ImageEncoder for `pair_dino_cos`: `zoo:dino`, `hf:facebook/dinov2-with-registers-large@<commit>` …"""

    def writes_empty(self) -> tuple[str, ...]:
        """The score of the image encoder, without one."""
        return () if self.image_encoder else (DINO_SCORE,)

    def open(self, ctx: Context) -> BatchFn:
        """Load the models once."""
        encoder = ctx.load(ImageTextEncoder, self.encoder)
        image_encoder = ctx.load(ImageEncoder, self.image_encoder) if self.image_encoder else None
        steps = score_steps(encoder, image_encoder)

        def score(batch: pa.Table) -> pa.Table:
            pairs = _pairs(batch, encoder)
            scores: list[Scores] = [{} for _ in pairs]
            for step in steps:
                for row, found in zip(scores, step.measure(pairs) if pairs else (), strict=True):
                    row.update(found)
            for name in self.writes:
                batch = batch.append_column(name, pa.array([row[name] for row in scores], column(name).type))
            return batch

        return score


def _pairs(batch: pa.Table, encoder: ImageTextEncoder) -> list[Pair]:
    texts = [
        encoder.encode_texts([text or "" for text in batch[name].to_pylist()])
        for name in ("source_caption", "target_caption")
    ]
    has_regions = "region_mask_png" in batch.column_names
    regions = batch["region_mask_png"].to_pylist() if has_regions else [None] * batch.num_rows
    images = zip(first_images(batch["source_images"]), rgb_images(batch["target_image"]), strict=True)
    return [
        Pair(
            source=source, target=target, source_text_D=said_D, target_text_D=asked_D,
            region=None if png is None else mask_array(png),
        )
        for (source, target), said_D, asked_D, png in zip(images, *texts, regions, strict=True)
    ]  # fmt: skip
