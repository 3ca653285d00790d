"""The conditions of an editor: what it is given of a batch, and what of it is taken away.

Latents and text embeddings come from the dataset where it has them, and are made anew for the samples that lack them.
`trainer.diffusion.dropout` decides which samples lose a condition. Owns no loss.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2; Zhao et al. 2024, UltraEdit, appendix A.4, for the region.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from models.diffusion.text_conditions import TextCondition, without_text

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.batch import Batch
    from trainer.diffusion.checkpoint import Checkpoint

# B rows, C channels, H W pixels, h w cells of a latent


class Conditions:
    """Reads the latents and texts of batches for one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, *, takes_region: bool) -> None:
        self._checkpoint, self.takes_region = checkpoint, takes_region
        self._no_text = checkpoint.no_text()
        self._white_latents: dict[tuple[int, ...], Tensor] = {}

    def target(self, batch: Batch) -> Tensor:
        """The scaled latent (B, C, h, w) of the target image: the posterior's mode, as datasets have it."""
        return self._latent(batch, "target_latent", batch["target_image"])

    def images(self, batch: Batch, is_dropped_B: Tensor) -> Tensor:
        """Latents of source and, if it is taken, region, along the channels, unscaled; zeros where they are dropped."""
        scaled = [self._latent(batch, "source_latent", batch["source_images"][0])]
        if self.takes_region:
            scaled.append(batch.completed("region_latent", lambda rows: self._region(batch["region_mask_png"][rows])))
        unscaled_BChw = torch.cat([self._checkpoint.latents.unscaled(one) for one in scaled], 1)
        return unscaled_BChw.masked_fill(is_dropped_B[:, None, None, None], 0.0)

    def texts(self, batch: Batch, is_dropped_B: Tensor) -> TextCondition:
        """The instructions as the UNet takes them, and what stands for no text where they are dropped."""

        @cache
        def encoded(rows: tuple[int, ...]) -> TextCondition:
            return self._checkpoint.encode_texts([batch["instruction"][row] for row in rows])

        none = self._no_text
        tokens_BLD = batch.completed("instruction_emb", lambda rows: encoded(tuple(rows)).tokens_BLD)
        pooled_BD = None
        if none.pooled_BD is not None:
            pooled_BD = batch.completed("instruction_pooled_emb", lambda rows: encoded(tuple(rows)).pooled_BD)
        return without_text(TextCondition(tokens_BLD, pooled_BD), none, is_dropped_B)

    def _latent(self, batch: Batch, name: str, image_BCHW: Tensor) -> Tensor:
        return batch.completed(name, lambda rows: self._checkpoint.latents.encode(image_BCHW[rows]))

    def _region(self, mask_B1HW: Tensor) -> Tensor:
        """Scaled latents of the masks as RGB images, -1 outside and 1 inside. A mask that is all white is free."""
        size: Any = mask_B1HW.shape[1:]
        if size not in self._white_latents:
            self._white_latents[size] = self._encoded(torch.ones_like(mask_B1HW[:1]))
        latent_BChw = self._white_latents[size].repeat(len(mask_B1HW), 1, 1, 1)
        has_black_B = (mask_B1HW < 1).flatten(1).any(1)
        if has_black_B.any():
            latent_BChw[has_black_B] = self._encoded(mask_B1HW[has_black_B])
        return latent_BChw

    def _encoded(self, mask_B1HW: Tensor) -> Tensor:
        return self._checkpoint.latents.encode((mask_B1HW * 2 - 1).expand(-1, 3, -1, -1))
