"""Score how well the two images fit their captions, each other, and the change that the captions describe.

Reads   source_images (list<binary>), target_image (binary), source_caption (string), target_caption (string)
Writes  source_caption_cos (float32, cosine), target_caption_cos (float32, cosine), pair_image_cos (float32, cosine),
        target_margin_cos (float32, what the target's own caption fits better than the source's),
        pair_direction_cos (float32, cosine of the difference of the images and that of the captions)
Drops   nothing: `select` owns thresholds, so moving one never reruns the model
Source  Brooks et al. 2023, InstructPix2Pix, section 3.1.2 (the directional similarity of Gal et al. 2022, differences
        of vectors of unit length).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa

from models.protocols import ImageTextEncoder
from pipeline.stage import MapStage, Serves
from samples.stored_images import first_images, rgb_images

if TYPE_CHECKING:
    from models.protocols import Floats
    from pipeline.context import Context
    from pipeline.stage import BatchFn

DECIMALS = 5
"""Kept of a cosine: what lies below depends on how rows fell into batches."""


class ScorePair(MapStage):
    """Cosines in the space of one encoder of images and texts."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "target_image", "source_caption", "target_caption")
    writes: ClassVar = (
        "source_caption_cos",
        "target_caption_cos",
        "target_margin_cos",
        "pair_image_cos",
        "pair_direction_cos",
    )

    model: Annotated[str, Serves(ImageTextEncoder)]
    """An ImageTextEncoder: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        encoder = ctx.load(ImageTextEncoder, self.model)

        def score(batch: pa.Table) -> pa.Table:
            source_BD = encoder.encode_images(first_images(batch["source_images"]))
            target_BD = encoder.encode_images(rgb_images(batch["target_image"]))
            said_BD = encoder.encode_texts([text or "" for text in batch["source_caption"].to_pylist()])
            asked_BD = encoder.encode_texts([text or "" for text in batch["target_caption"].to_pylist()])
            scores = {
                "source_caption_cos": (source_BD * said_BD).sum(1),
                "target_caption_cos": (target_BD * asked_BD).sum(1),
                "target_margin_cos": (target_BD * (asked_BD - said_BD)).sum(1),
                "pair_image_cos": (source_BD * target_BD).sum(1),
                "pair_direction_cos": _cosine(target_BD - source_BD, asked_BD - said_BD),
            }
            for name, values in scores.items():
                batch = batch.append_column(name, pa.array(np.round(values, DECIMALS), pa.float32()))
            return batch

        return score


def _cosine(one_BD: Floats, other_BD: Floats) -> Floats:
    """Row by row, or 0 where one of the two has no length."""
    lengths = np.linalg.norm(one_BD, axis=1) * np.linalg.norm(other_BD, axis=1)
    cosine: Floats = (one_BD * other_BD).sum(1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return cosine
