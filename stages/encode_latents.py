"""Encode source, target and, where wanted, the region once, so that a trainer need not run the autoencoder each step.

Reads   source_images (list<binary>), target_image (binary), with_region: region_mask_png (binary)
Writes  source_latent (binary, npy), target_latent (binary, npy), region_latent (binary, npy), latent_model (string),
        latent_revision (string), latent_size_px (int32, px)
Drops   nothing: a row without region mask has no region latent
Source  Rombach et al. 2022, Latent Diffusion. The latent is the mode of the posterior, scaled, in half precision.
        UltraEdit's trainer encodes the mask as an RGB image, white where the edit may change the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models.batches import prepared
from models.protocols import LatentEncoder
from models.registry import revision
from pipeline.stage import MapStage, Serves, TwoPart
from samples.stored_arrays import npy
from samples.stored_images import MAX_MADE_PIXELS, centre_square, first_images, mask_image, rgb_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from PIL.Image import Image

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class EncodeLatents(MapStage):
    """Latents of the centre square of both images, and of the region, at `size_px`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "target_image")
    writes: ClassVar = (
        "source_latent", "target_latent", "region_latent", "latent_model", "latent_revision", "latent_size_px",
    )  # fmt: skip

    model: Annotated[str, Serves(LatentEncoder)]
    """A diffusers checkpoint with an autoencoder, the one that will be trained: `zoo:sd`, `hf:…`."""
    size_px: int = Field(ge=8)
    """Side of the centre square that is encoded."""
    with_region: bool = False
    """Whether the region mask is encoded, too; without, no row has a region latent."""

    def needs_columns(self) -> tuple[str, ...]:
        """The region mask, where it is encoded."""
        return ("region_mask_png",) if self.with_region else ()

    def writes_empty(self) -> tuple[str, ...]:
        """The region latent, where it is not wanted."""
        return () if self.with_region else ("region_latent",)

    def open(self, ctx: Context) -> BatchFn:
        """Load the autoencoder once."""
        encoder = ctx.load(LatentEncoder, self.model)
        pinned = revision(self.model)

        def squares(images: Iterable[Image]) -> Any:
            return prepared(encoder, [centre_square(image, self.size_px) for image in images])

        def encoded(images: Any) -> list[bytes]:
            return [npy(latent_Chw) for latent_Chw in encoder.encode_latents(images)]

        def get_ready(batch: pa.Table) -> Any:
            masks = self._distinct_masks(batch)
            return (
                squares(first_images(batch["source_images"])),
                squares(rgb_images(batch["target_image"])),
                squares(mask_image(mask, MAX_MADE_PIXELS) for mask in masks),
            )

        def encode(batch: pa.Table, ready: Any) -> pa.Table:
            sources, targets, regions = ready
            by_mask: dict[bytes | None, bytes] = dict(zip(self._distinct_masks(batch), encoded(regions), strict=True))
            masks = batch["region_mask_png"].to_pylist() if by_mask else [None] * batch.num_rows
            values: dict[str, Sequence[bytes | None]] = {
                "source_latent": encoded(sources),
                "target_latent": encoded(targets),
                "region_latent": [by_mask.get(mask) for mask in masks],
            }
            for name, arrays in values.items():
                batch = batch.append_column(name, pa.array(arrays, pa.binary()))
            for name, value in (("latent_model", self.model), ("latent_revision", pinned)):
                batch = batch.append_column(name, pa.array([value] * batch.num_rows, pa.string()))
            return batch.append_column("latent_size_px", pa.array([self.size_px] * batch.num_rows, pa.int32()))

        return TwoPart(prepare=get_ready, finish=encode)

    def _distinct_masks(self, batch: pa.Table) -> list[bytes]:
        """The region masks to encode, each once: many are all white."""
        masks = batch["region_mask_png"].to_pylist() if self.with_region else []
        return list(dict.fromkeys(mask for mask in masks if mask is not None))
