"""Score how well the two images fit their captions, each other, and the change that the captions describe.

Reads   source_images (list<binary>), target_image (binary), source_caption (string), target_caption (string), and with
        `reuse_embedding` the column image_embedding
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
from pydantic import Field

from core.errors import RunStopped
from models.batches import prepared
from models.protocols import ImageTextEncoder
from pipeline.stage import MapStage, Serves, TwoPart
from samples.columns import SAMPLE_ID
from samples.stored_images import distinct_images, first_encoded
from stages.pair_scores.cosines import CAPTION_SCORES, HALF_ROUNDING, ROUNDING, caption_scores
from stages.pair_scores.scores import DECIMALS
from stages.retrieval.embeddings import embeddings_of, unit

if TYPE_CHECKING:
    from typing import Any

    from models.protocols import Floats
    from pipeline.context import Context
    from pipeline.stage import BatchFn

SAME_COS = 0.995
"""Least cosine of an image's vector and the stored one: half precision and bfloat16 stay above, another model or
another picture below."""

# B rows, D embedding, N distinct images


class ScorePair(MapStage):
    """Cosines in the space of one encoder of images and texts. An image that rows share is encoded once."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("source_images", "target_image", "source_caption", "target_caption")
    writes: ClassVar = CAPTION_SCORES

    model: Annotated[str, Serves(ImageTextEncoder, only_scores=True)]
    """An ImageTextEncoder: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""
    reuse_embedding: bool = False
    """Take the source's vector from `image_embedding`, which `embed` made with the same model: half of the images need
    not be encoded. Stored vectors have three digits: cosines change by about 0.00001, `pair_direction_cos` by a
    thousandth where the images are alike. `reduced_jpeg_px` must be that of `embed`. The first row of each call is
    checked."""
    reduced_jpeg_px: int | None = Field(default=None, ge=1)
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves its shorter side this long; none: whole. Give
    at least the side that the model sees (224 px for most CLIPs)."""

    def needs_columns(self) -> tuple[str, ...]:
        """The vectors of the sources, where they are not made anew."""
        return ("image_embedding",) if self.reuse_embedding else ()

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        encoder = ctx.load(ImageTextEncoder, self.model)

        def get_ready(batch: pa.Table) -> Any:
            sources = first_encoded(batch["source_images"])
            shown = [*(sources[:1] if self.reuse_embedding else sources), *batch["target_image"].to_pylist()]
            images, places = distinct_images(shown, self.reduced_jpeg_px)
            return prepared(encoder, images), places

        def score(batch: pa.Table, ready: Any) -> pa.Table:
            images_N, places = ready
            emb_BD = encoder.encode_images(images_N)[places]
            source_BD, target_BD = np.split(emb_BD, [len(places) - batch.num_rows])
            if self.reuse_embedding:
                source_BD = self._stored(batch, source_BD)
            said_BD = encoder.encode_texts([text or "" for text in batch["source_caption"].to_pylist()])
            asked_BD = encoder.encode_texts([text or "" for text in batch["target_caption"].to_pylist()])
            rounding = HALF_ROUNDING if self.reuse_embedding else ROUNDING
            for name, values in caption_scores(source_BD, target_BD, said_BD, asked_BD, rounding=rounding).items():
                batch = batch.append_column(name, pa.array(np.round(values, DECIMALS), pa.float32()))
            return batch

        return TwoPart(prepare=get_ready, finish=score)

    def _stored(self, batch: pa.Table, first_BD: Floats) -> Floats:
        """The vectors of the sources as `embed` stored them. Raises `RunStopped` where that of the first row differs.

        `first_BD` has the vector of the first row's image, as the model gives it here.
        """
        stored_BD = unit(embeddings_of(batch))
        if not batch.num_rows:
            return first_BD
        is_alike = stored_BD.shape[1] == first_BD.shape[1]
        cos = float(stored_BD[0] @ first_BD[0]) if is_alike else 0.0
        if cos < SAME_COS:
            found = f"a cosine of {cos:.3f}" if is_alike else f"{stored_BD.shape[1]} numbers, not {first_BD.shape[1]}"
            raise RunStopped(
                f"sample {batch[SAMPLE_ID][0].as_py()}: image_embedding is not the vector of its source image by "
                f"{self.model!r} ({found}); give the model and the reduced_jpeg_px that made it, or set "
                f"reuse_embedding = false"
            )
        return stored_BD
