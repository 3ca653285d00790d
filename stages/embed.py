"""Place each source image in the common space of images and texts.

Reads   source_images (list<binary>)
Writes  image_embedding (list<float16>, unit length)
Drops   nothing
Source  Radford et al. 2021, CLIP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.batches import prepared
from models.protocols import ImageTextEncoder
from pipeline.stage import MapStage, Serves, TwoPart
from samples.stored_images import first_images

if TYPE_CHECKING:
    from typing import Any

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class Embed(MapStage):
    """One vector an image, half precision: about three digits of each number, half of the disk."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images",)
    writes: ClassVar = ("image_embedding",)

    model: Annotated[str, Serves(ImageTextEncoder, only_scores=True)]
    """An ImageTextEncoder: `zoo:clip`, `open_clip:ViT-L-14/openai`, `hf:openai/clip-vit-large-patch14@<commit>` …"""

    reduced_jpeg_px: int | None = Field(default=None, ge=1)
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves its shorter side this long; none: whole. Give
    at least the side that the model sees (224 px for most CLIPs): faster for large images, with pixels that differ a
    little."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        encoder = ctx.load(ImageTextEncoder, self.model)

        def get_ready(batch: pa.Table) -> Any:
            return prepared(encoder, first_images(batch["source_images"], self.reduced_jpeg_px))

        def embed(batch: pa.Table, images: Any) -> pa.Table:
            emb_BD = encoder.encode_images(images)
            return batch.append_column("image_embedding", vectors_column(emb_BD.astype(np.float16)))

        return TwoPart(prepare=get_ready, finish=embed)


def vectors_column(emb_BD: np.ndarray[tuple[int, int], np.dtype[np.float16]]) -> pa.Array:
    """Rows of a float16 matrix (B, D) as a column of lists."""
    rows, dim = emb_BD.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * dim, pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(emb_BD.reshape(-1), pa.float16()))
