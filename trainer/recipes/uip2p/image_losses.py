"""The losses of UIP2P that compare decoded images, as functions of the latents that are decoded.

Owns decoding and embedding; `losses` has the equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.recipes.uip2p import losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.loss_protocols import DifferentiableImageText
    from trainer.batch import Batch
    from trainer.recipes.uip2p.settings import Uip2pSettings

# B rows, C channels, H W pixels, h w cells of a latent, D embedding


class ImageLosses:
    """The losses for the samples of one batch. A loss whose weight is 0 is left out."""

    def __init__(
        self, settings: Uip2pSettings, clip: DifferentiableImageText, decode: Callable[[Tensor], Tensor], batch: Batch
    ) -> None:
        """`decode` decodes scaled latents to images, -1 to 1."""
        self._settings, self._clip, self._decode, self._batch = settings, clip, decode, batch
        self._source_BCHW: Tensor = batch["source_images"][0]
        with torch.no_grad():
            self._source_BD = self._embedded(self._source_BCHW)

    def of_edit(self, latent_BChw: Tensor) -> dict[str, Tensor]:
        """`direction` and `similarity` (B,) of the edited image."""
        found: dict[str, Tensor] = {}
        edited_BD = self._embedded(self._decode(latent_BChw))
        before_BD, after_BD = (self._clip.text_emb(self._batch[name]) for name in ("source_caption", "target_caption"))
        if self._settings.lambda_clip:
            found["direction"] = losses.direction_loss(edited_BD, self._source_BD, after_BD, before_BD)
        if self._settings.lambda_sim:
            found["similarity"] = losses.similarity_loss(edited_BD, after_BD)
        return found

    def of_reconstruction(self, latent_BChw: Tensor) -> dict[str, Tensor]:
        """`reconstruction` (B,) of the image that was edited back."""
        image_BCHW = self._decode(latent_BChw)
        embedded_BD = self._embedded(image_BCHW)
        loss_B = losses.reconstruction_loss(
            self._source_BCHW, image_BCHW, self._source_BD, embedded_BD, self._settings.norm
        )
        return {"reconstruction": loss_B}

    def _embedded(self, image_BCHW: Tensor) -> Tensor:
        """CLIP's embeddings of images from -1 to 1."""
        return self._clip.image_emb(image_BCHW / 2 + 0.5)
