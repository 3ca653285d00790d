"""Channels that a UNet of Stable Diffusion takes."""

from __future__ import annotations

INPAINTING_CHANNELS = 9
"""Of a UNet that was trained to inpaint: noisy latent 4, mask 1, latent of the masked image 4."""
BLENDED_CHANNELS = 4
"""Of a text-to-image UNet, with which diffusers' inpainting pipelines blend: the noisy latent alone."""
