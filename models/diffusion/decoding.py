"""Decodes latents to images with the autoencoder of a diffusers pipeline, and asks its safety checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

# B rows, C channels of a latent of h w


def decoded(pipeline: Any, latent_BChw: Any, *, checks_safety: bool = True) -> list[Image]:
    """Images of scaled latents. An image that the pipeline's safety checker rejects, where it has one, is black."""
    vae = pipeline.vae
    unscaled_BChw = latent_BChw / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    images, rejected = vae.decode(unscaled_BChw.to(vae.dtype), return_dict=False)[0], None
    if checks_safety and getattr(pipeline, "safety_checker", None) is not None:
        images, rejected = pipeline.run_safety_checker(images, pipeline.device, pipeline.unet.dtype)
    seen = None if rejected is None else [not one for one in rejected]
    found: list[Image] = pipeline.image_processor.postprocess(images, output_type="pil", do_denormalize=seen)
    return found
