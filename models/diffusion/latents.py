"""The autoencoder of a diffusers pipeline: encodes images in the latent space of its UNet.

Source  Rombach et al. 2022, Latent Diffusion, section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import alike, as_rgb
from models.placement import in_batches
from models.shared import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

# B rows, C channels of an image or latent, H W pixels, h w of a latent

PIXELS_AT_ONCE = {"cuda": 16 * 512**2}
"""Pixels of the images that are encoded together, by kind of device, and one image where it has more or the device is
not listed: at 512 px the first layers take about half a gigabyte an image in float32. A CPU takes one at a time: from
128 px on it is no slower, and a latent is the same whatever its neighbours."""


class VaeEncoder:
    """A LatentEncoder over the `AutoencoderKL` of a diffusers checkpoint, for example that of Stable Diffusion."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from diffusers import AutoencoderKL

        def load() -> Any:
            arguments = weights.pretrained_arguments()
            vae: Any = AutoencoderKL.from_pretrained(
                weights.location, subfolder="vae", torch_dtype=placement.torch_dtype(), **arguments
            )
            return vae.to(placement.torch_device()).eval()

        self._vae = shared(weights, placement, AutoencoderKL, load)
        self._batch_size = placement.batch_size
        self.factor: int = 2 ** (len(self._vae.config.block_out_channels) - 1)
        """Pixels of an image, along each side, for one pixel of its latent."""

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """(H, W, C) of each image, 0 to 255, or what was prepared already. Raises ValueError as `encode_latents`."""
        import numpy as np
        import torch

        if images and isinstance(images[0], torch.Tensor):
            return images
        for image in images:
            if image.width % self.factor or image.height % self.factor:
                raise ValueError(
                    f"image of {image.width} x {image.height} px: sides must be multiples of {self.factor}"
                )
        return [torch.from_numpy(np.array(image)) for image in as_rgb(images)]

    def encode_latents(self, images: Sequence[Image]) -> list[Floats]:
        """(C, h, w) for each image: the mode of the posterior times the checkpoint's scaling factor.

        On a GPU images of one size are encoded together, so that a latent hangs on its neighbours by rounding. Raises
        ValueError for an image whose sides are no multiples of `factor`.
        """
        pixels = self.prepare_images(images)
        found: dict[int, Floats] = {}
        for rows in alike(pixel_HWC.shape for pixel_HWC in pixels):
            height, width, _ = pixels[rows[0]].shape
            fitting = max(1, PIXELS_AT_ONCE.get(self._vae.device.type, 0) // (height * width))
            latents = in_batches(self._encode, [pixels[row] for row in rows], min(self._batch_size, fitting))
            found |= zip(rows, latents, strict=True)
        return [found[row] for row in range(len(pixels))]

    def _encode(self, pixels: Sequence[Any]) -> list[Floats]:
        import torch

        pixels_BCHW = torch.stack(list(pixels)).to(self._vae.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            posterior: Any = self._vae.encode(pixels_BCHW.to(self._vae.dtype)).latent_dist
            latent_BChw = posterior.mode() * self._vae.config.scaling_factor
        return list(latent_BChw.float().cpu().numpy())
