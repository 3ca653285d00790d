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
from stages.pair_scores.cosines import CAPTION_SCORES, caption_scores
from stages.pair_scores.scores import DECIMALS

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class ScorePair(MapStage):
    """Cosines in the space of one encoder of images and texts."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("source_images", "target_image", "source_caption", "target_caption")
    writes: ClassVar = CAPTION_SCORES

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
            for name, values in caption_scores(source_BD, target_BD, said_BD, asked_BD).items():
                batch = batch.append_column(name, pa.array(np.round(values, DECIMALS), pa.float32()))
            return batch

        return score
