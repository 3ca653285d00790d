"""Sample grids: a few sources, edited with the weights as they are, beside their targets.

Source  Meng et al. 2022, SDEdit: noise the source part of the way, denoise it under the target's caption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.batch import Batch
    from trainer.config import TrainConfig
    from trainer.diffusion import Diffusion


def sdedit(diffusion: Diffusion, batch: Batch, config: TrainConfig) -> list[Image.Image]:
    """Each source edited towards its target's caption, by DDIM; seeded by the training's seed and the row."""
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    parts = diffusion.pipeline
    pipeline: Any = StableDiffusionImg2ImgPipeline(
        vae=parts.vae, text_encoder=parts.text_encoder, tokenizer=parts.tokenizer, unet=parts.unet,
        scheduler=DDIMScheduler.from_config(parts.scheduler.config, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed((config.seed * 1009 + row) % 2**63) for row in range(len(batch))]
    with diffusion.autocast():
        edited: list[Image.Image] = pipeline(
            prompt=list(batch.target_captions), image=pictures(batch.source_BCHW), strength=config.preview_strength,
            num_inference_steps=config.preview_steps, guidance_scale=config.preview_guidance, generator=generators,
        ).images  # fmt: skip
    return edited


def grid(batch: Batch, edited: list[Image.Image]) -> Image.Image:
    """One row a sample: source, edit, target."""
    rows = list(zip(pictures(batch.source_BCHW), edited, pictures(batch.target_BCHW), strict=True))
    width, height = rows[0][0].size
    canvas = Image.new("RGB", (3 * width, len(rows) * height))
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            canvas.paste(image, (column * width, row * height))
    return canvas


def pictures(image_BCHW: Tensor) -> list[Image.Image]:
    """Images from -1 to 1 as Pillow's."""
    pixels_BHWC = ((image_BCHW.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(pixels_HWC)) for pixels_HWC in pixels_BHWC]
