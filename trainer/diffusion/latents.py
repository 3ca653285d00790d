"""The autoencoder of a checkpoint: latents of images, images of latents.

Source  Rombach et al. 2022, Latent Diffusion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

# B rows, C channels, H W pixels, h w cells of a latent


class Latents:
    """Encodes and decodes with a frozen `AutoencoderKL` of diffusers, in the type that its weights have."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self._vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels to one cell, along each side."""
        return int(2 ** (len(self._vae.config.block_out_channels) - 1))

    def encode(self, image_BCHW: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w) of images from -1 to 1: the posterior's mode, without a gradient."""
        with torch.no_grad():
            mode_BChw: Tensor = self._vae.encode(image_BCHW.to(self._vae.dtype)).latent_dist.mode().float()
        return (mode_BChw - self._shift) * self._scale

    def decode(self, latent_BChw: Tensor) -> Tensor:
        """Images (B, 3, H, W), about -1 to 1, not clamped, with the gradient to the latents."""
        image_BCHW: Tensor = self._vae.decode(self.unscaled(latent_BChw).to(self._vae.dtype)).sample
        return image_BCHW.float()

    def unscaled(self, latent_BChw: Tensor) -> Tensor:
        """Latents as the encoder gives them, from scaled ones."""
        return latent_BChw / self._scale + self._shift

    @property
    def _scale(self) -> float:
        return float(self._vae.config.scaling_factor)

    @property
    def _shift(self) -> float:
        return float(self._vae.config.shift_factor or 0.0)


def cells_inside(mask_B1HW: Tensor, latent_BChw: Tensor) -> Tensor:
    """The share of each latent cell that is inside the mask: (B, 1, h, w), 0 to 1."""
    return functional.interpolate(mask_B1HW, latent_BChw.shape[-2:], mode="area")
