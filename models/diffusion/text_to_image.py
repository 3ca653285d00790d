"""Stable Diffusion through diffusers: draws images from text with checkpoints of SD 1.x, 2.x and SDXL.

Source  Rombach et al. 2022, Latent Diffusion; Podell et al. 2023, SDXL; Ho & Salimans 2022 for the guidance scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import same_length
from models.diffusion.noise import generators
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.schemes.weights import Weights


class StableDiffusion:
    """An ImageSynthesizer over a text-to-image pipeline of diffusers, with the checkpoint's scheduler.

    A checkpoint that comes with a safety checker keeps it: an image that it rejects is black.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from diffusers import AutoPipelineForText2Image

        pipeline: Any = AutoPipelineForText2Image.from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(placement.torch_device())
        self._batch_size = placement.batch_size

    def generate(
        self, prompts: Sequence[str], *, seeds: Sequence[int], num_steps: int, guidance_scale: float
    ) -> list[Image]:
        """One image a prompt at the model's own size. The noise depends on the seed alone.

        Noise is drawn on the CPU, one generator a prompt, so that it is the same on every device. A guidance scale of
        1 or less is no guidance. Raises ValueError when the two lists differ in length.
        """
        same_length(prompts=prompts, seeds=seeds)

        def run(rows: Sequence[tuple[str, int]]) -> Sequence[Image]:
            images: list[Image] = self._pipeline(
                prompt=[prompt for prompt, _ in rows],
                generator=generators(seed for _, seed in rows),
                num_inference_steps=num_steps,
                guidance_scale=guidance_scale,
            ).images
            return images

        return in_batches(run, list(zip(prompts, seeds, strict=True)), self._batch_size)
