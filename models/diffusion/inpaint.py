"""Stable Diffusion inpainting through diffusers: repaints a part of an image.

Source  Rombach et al. 2022, Latent Diffusion, section 4.5: a UNet that sees the mask and the masked image as five
more channels, nine in all. A text-to-image UNet, with its four channels, repaints by blending: after each step the
latent outside the mask is that of the image, noised to the step's level (Avrahami et al. 2023, Blended Latent
Diffusion). Both are diffusers' own pipelines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb, same_length
from models.diffusion.masked import as_mask_image, check_mask_sizes, composed
from models.diffusion.noise import generators
from models.diffusion.unet_inputs import BLENDED_CHANNELS, INPAINTING_CHANNELS
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Bools
    from models.schemes.weights import Weights

# H W pixels of the image


class StableDiffusionInpaint:
    """An EditSynthesizer over a checkpoint that inpaints or draws from text, with the checkpoint's scheduler.

    A checkpoint that comes with a safety checker keeps it: an image that it rejects is black within the mask.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the checkpoint. Raises ValueError when its UNet takes other channels."""
        from diffusers import AutoPipelineForInpainting

        pipeline: Any = AutoPipelineForInpainting.from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        channels = pipeline.unet.config.in_channels
        if channels not in (INPAINTING_CHANNELS, BLENDED_CHANNELS):
            raise ValueError(
                f"the UNet of {weights.model_id} takes {channels} channels, inpainting needs {INPAINTING_CHANNELS}, or "
                f"{BLENDED_CHANNELS} to blend; name a checkpoint that inpaints or draws from text"
            )
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(placement.torch_device())
        self._size_px = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        self._batch_size = placement.batch_size

    def inpaint(
        self,
        images: Sequence[Image],
        masks: Sequence[Bools],
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        num_steps: int,
        guidance_scale: float,
    ) -> list[Image]:
        """One image a row, RGB, at the image's own size. Where the (H, W) mask is true it is repainted.

        Image and mask are stretched to the model's square for the pipeline, the result back (Lanczos), and pixels
        outside the mask are copied from the input. A seed alone decides a row's noise, drawn on the CPU. Raises
        ValueError when the lists differ in length or a mask in size from its image.
        """
        same_length(images=images, masks=masks, prompts=prompts, seeds=seeds)
        check_mask_sizes(images, masks)

        def run(rows: Sequence[int]) -> list[Image]:
            inputs, mask_images = as_rgb(images[row] for row in rows), [as_mask_image(masks[row]) for row in rows]
            squares = self._pipeline(
                prompt=[prompts[row] for row in rows],
                image=inputs,
                mask_image=mask_images,
                height=self._size_px,
                width=self._size_px,
                strength=1.0,
                generator=generators(seeds[row] for row in rows),
                num_inference_steps=num_steps,
                guidance_scale=guidance_scale,
            ).images
            return list(map(composed, inputs, mask_images, squares))

        return in_batches(run, range(len(images)), self._batch_size)
