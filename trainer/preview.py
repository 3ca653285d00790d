"""Sample grids: a few sources, edited with the weights as they are, beside their targets.

Source  Meng et al. 2022, SDEdit: noise the source part of the way, denoise it under the target's caption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.diffusion.sdedit import SdEdit, SdEditSettings
from models.protocols import EditRequest

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.batch import Batch
    from trainer.config import TrainConfig
    from trainer.diffusion import Diffusion


def sdedit(diffusion: Diffusion, batch: Batch, config: TrainConfig) -> list[Image.Image]:
    """Each source edited towards its target's caption; seeded by the training's seed and the row."""
    settings = SdEditSettings(
        num_steps=config.preview_steps, guidance_scale=config.preview_guidance, sampling_ratio=config.preview_strength,
        size_px=config.size_px,
    )  # fmt: skip
    editor = SdEdit.over(diffusion.pipeline, settings, batch_size=len(batch))
    requests = [
        EditRequest(image=image, target_caption=caption)
        for image, caption in zip(pictures(batch.source_BCHW), batch.target_captions, strict=True)
    ]
    with diffusion.autocast():
        return editor.edit(requests, seeds=[(config.seed * 1009 + row) % 2**63 for row in range(len(batch))])


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
