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

from models.protocols import ImageTextEncoder
from pipeline.stage import MapStage, Serves
from samples.stored_images import first_images

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class Embed(MapStage):
    """One vector an image, half precision: about three digits of each number, half of the disk."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images",)
    writes: ClassVar = ("image_embedding",)

    model: Annotated[str, Serves(ImageTextEncoder)]
    """An ImageTextEncoder: `zoo:clip`, `open_clip:ViT-L-14/openai`, `hf:openai/clip-vit-large-patch14@<commit>` …"""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        encoder = ctx.load(ImageTextEncoder, self.model)

        def embed(batch: pa.Table) -> pa.Table:
            emb_BD = encoder.encode_images(first_images(batch["source_images"]))
            return batch.append_column("image_embedding", vectors_column(emb_BD.astype(np.float16)))

        return embed


def vectors_column(emb_BD: np.ndarray[tuple[int, int], np.dtype[np.float16]]) -> pa.Array:
    """Rows of a float16 matrix (B, D) as a column of lists."""
    rows, dim = emb_BD.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * dim, pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(emb_BD.reshape(-1), pa.float16()))
