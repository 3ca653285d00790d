"""Score a pair by all that tells whether the edit is there and nothing else changed.

Reads   source_images (list<binary>), target_image (binary), source_caption (string), target_caption (string), and
        region_mask_png (binary) where there is one
Writes  source_caption_cos (float32, cosine), target_caption_cos (float32, cosine), target_margin_cos (float32, what the
        target's own caption fits better than the source's), pair_image_cos (float32, cosine),
        pair_direction_cos (float32, cosine of the difference of the images and that of the captions),
        pair_dino_cos (float32, cosine of the images; no value without `image_encoder`), pair_ssim (float32, -1 to 1),
        pair_l1 (float32, 0 to 1; near 0 the edit does nothing), outside_ssim (float32, -1 to 1) and
        outside_l1 (float32, 0 to 1) outside of the region; no value where there is no region or it is all, and none
        of a caption where there is none
Drops   nothing: `select` owns thresholds, so moving one never reruns a model
Source  Brooks et al. 2023, InstructPix2Pix, section 3.1.2; Zhao et al. 2024, UltraEdit, whose filter adds DINOv2 and
        SSIM; scores outside of the region are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa

from models.batches import prepared
from models.protocols import ImageEncoder, ImageTextEncoder
from pipeline.stage import MapStage, Serves, TwoPart
from samples.columns import column
from samples.stored_images import distinct_images, first_encoded, mask_array
from stages.pair_scores.scores import DINO_SCORE, PAIR_SCORES, Scores, cosine_scores, dino_scores, pixel_scores

if TYPE_CHECKING:
    from models.protocols import Bools, Floats
    from pipeline.context import Context
    from pipeline.stage import BatchFn


CAPTIONS = ("source_caption", "target_caption")


class ScoreEdit(MapStage):
    """The scores that filter synthetic pairs, for pairs from anywhere. Images of two sizes have no scores of pixels."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("source_images", "target_image", "source_caption", "target_caption")
    reads_if_present: ClassVar = ("region_mask_png",)
    writes: ClassVar = PAIR_SCORES

    encoder: Annotated[str, Serves(ImageTextEncoder, only_scores=True)]
    """An ImageTextEncoder: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""
    image_encoder: Annotated[str | None, Serves(ImageEncoder, only_scores=True)] = None
    """An ImageEncoder for `pair_dino_cos`: `zoo:dino`, `hf:facebook/dinov2-with-registers-large@<commit>` …"""

    def writes_empty(self) -> tuple[str, ...]:
        """The score of the image encoder, without one."""
        return () if self.image_encoder else (DINO_SCORE,)

    def open(self, ctx: Context) -> BatchFn:
        """Load the models once."""
        encoder = ctx.load(ImageTextEncoder, self.encoder)
        image_encoder = ctx.load(ImageEncoder, self.image_encoder) if self.image_encoder else None

        def get_ready(batch: pa.Table) -> _Ready:
            shown = [*first_encoded(batch["source_images"]), *batch["target_image"].to_pylist()]
            images, places = distinct_images(shown)
            rows = [images[place] for place in places]
            both = zip(rows[: batch.num_rows], rows[batch.num_rows :], _regions(batch), strict=True)
            return _Ready(
                places=places,
                images=prepared(encoder, images),
                dino_images=prepared(image_encoder, images),
                pixels=[pixel_scores(source, target, region) for source, target, region in both],
            )

        def score(batch: pa.Table, ready: _Ready) -> pa.Table:
            captions = [batch[name].to_pylist() for name in CAPTIONS]
            said_BD, asked_BD = (encoder.encode_texts([text or "" for text in texts]) for texts in captions)
            cosines = cosine_scores(*_sides(encoder.encode_images(ready.images), ready.places), said_BD, asked_BD)
            for row, said, asked in zip(cosines, *captions, strict=True):
                row.update(dict.fromkeys(_without_captions(said, asked), None))
            dino: list[Scores] = [{DINO_SCORE: None} for _ in cosines]
            if image_encoder is not None:
                dino = dino_scores(*_sides(image_encoder.encode_images(ready.dino_images), ready.places))
            rows = zip(cosines, dino, ready.pixels, strict=True)
            scores = [cosine | of_dino | of_pixels for cosine, of_dino, of_pixels in rows]
            for name in self.writes:
                batch = batch.append_column(name, pa.array([row[name] for row in scores], column(name).type))
            return batch

        return TwoPart(prepare=get_ready, finish=score)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ready:
    """The images of a batch, each once, made ready for both encoders, and the scores that need no encoder."""

    places: list[int]
    """Of each row's source among the images, then of each row's target."""
    images: Any
    dino_images: Any
    pixels: list[Scores]


def _without_captions(source: str | None, target: str | None) -> tuple[str, ...]:
    """The scores that a pair cannot have for want of a caption."""
    of_source = () if source else ("source_caption_cos",)
    of_target = () if target else ("target_caption_cos",)
    of_both = () if source and target else ("target_margin_cos", "pair_direction_cos")
    return (*of_source, *of_target, *of_both)


def _regions(batch: pa.Table) -> list[Bools | None]:
    if "region_mask_png" not in batch.column_names:
        return [None] * batch.num_rows
    return [None if png is None else mask_array(png) for png in batch["region_mask_png"].to_pylist()]


def _sides(emb_ND: Floats, places: list[int]) -> tuple[Floats, Floats]:
    """(B, D) of the sources and of the targets, from the vectors of the distinct images."""
    num_rows = len(places) // 2
    return emb_ND[places[:num_rows]], emb_ND[places[num_rows:]]
