"""Encode source and target once, so that a trainer need not run the autoencoder at every step.

Reads   source_images (list<binary>), target_image (binary)
Writes  source_latent (binary, npy), target_latent (binary, npy), latent_model (string), latent_revision (string),
        latent_size_px (int32, px)
Drops   nothing
Source  Rombach et al. 2022, Latent Diffusion. The latent is the mode of the posterior, scaled, in half precision.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.protocols import LatentEncoder
from models.registry import revision
from pipeline.stage import MapStage, Serves
from samples.stored_images import centre_square, first_images, rgb_images

if TYPE_CHECKING:
    from models.protocols import Floats
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class EncodeLatents(MapStage):
    """Latents of the centre square of both images at `size_px`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "target_image")
    writes: ClassVar = ("source_latent", "target_latent", "latent_model", "latent_revision", "latent_size_px")

    model: Annotated[str, Serves(LatentEncoder)]
    """A diffusers checkpoint with an autoencoder, the one that will be trained: `zoo:sd`, `hf:…`."""
    size_px: int = Field(ge=8)
    """Side of the centre square that is encoded."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the autoencoder once."""
        encoder = ctx.load(LatentEncoder, self.model)
        pinned = revision(self.model)

        def encode(batch: pa.Table) -> pa.Table:
            images = {
                "source": first_images(batch["source_images"]),
                "target": rgb_images(batch["target_image"]),
            }
            for side, whole in images.items():
                latents = encoder.encode_latents([centre_square(image, self.size_px) for image in whole])
                batch = batch.append_column(f"{side}_latent", pa.array([npy(one) for one in latents], pa.binary()))
            size = pa.array([self.size_px] * batch.num_rows, pa.int32())
            batch = batch.append_column("latent_model", pa.array([self.model] * batch.num_rows, pa.string()))
            batch = batch.append_column("latent_revision", pa.array([pinned] * batch.num_rows, pa.string()))
            return batch.append_column("latent_size_px", size)

        return encode


def npy(latent_Chw: Floats) -> bytes:
    """The array as a file in NumPy's format, float16."""
    buffer = io.BytesIO()
    np.save(buffer, latent_Chw.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()
