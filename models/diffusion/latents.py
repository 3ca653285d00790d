"""The autoencoder of a diffusers pipeline: encodes images in the latent space of its UNet.

Source  Rombach et al. 2022, Latent Diffusion, section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

# B rows, C channels of a latent, H W pixels, h w of a latent


class VaeEncoder:
    """A LatentEncoder over the `AutoencoderKL` of a diffusers checkpoint, for example that of Stable Diffusion."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from diffusers import AutoencoderKL

        vae: Any = AutoencoderKL.from_pretrained(
            weights.location, subfolder="vae", torch_dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        self._vae = vae.to(placement.torch_device()).eval()
        self.factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        """Pixels of an image, along each side, for one pixel of its latent."""

    def encode_latents(self, images: Sequence[Image]) -> list[Floats]:
        """(C, h, w) for each image, all of one size: the mode of the posterior times the checkpoint's scaling factor.

        Raises ValueError for an image whose sides are no multiples of `factor`.
        """
        for image in images:
            if image.width % self.factor or image.height % self.factor:
                raise ValueError(
                    f"image of {image.width} x {image.height} px: sides must be multiples of {self.factor}"
                )
        return in_batches(self._encode, images, batch_size=1)  # so that a latent does not depend on its neighbours

    def _encode(self, images: Sequence[Image]) -> list[Floats]:
        import numpy as np
        import torch

        pixels_BHWC = np.stack([np.asarray(image, np.float32) for image in as_rgb(images)]) / 127.5 - 1
        pixels_BCHW = torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2).to(self._vae.device, self._vae.dtype)
        with torch.inference_mode():
            latent_BChw: Any = self._vae.encode(pixels_BCHW).latent_dist.mode() * self._vae.config.scaling_factor
        return list(latent_BChw.float().cpu().numpy())
