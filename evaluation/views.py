"""Views: a benchmark or a protocol may show judges a part or a copy of each image, as its own script does."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    View: TypeAlias = Callable[[Sequence[Image]], list[Image]]
    """Images as they are -> images as a judge is shown them."""

RESIZED_PX, CROPPED_PX = 256, 224


def centre_224(images: Sequence[Image]) -> list[Image]:
    """The centre 224 x 224 pixels of each image, its shorter side scaled to 256 by bicubic resampling.

    Source  the published evaluation script of MagicBrush, for DINO.
    """
    from PIL import Image as Pillow

    cropped = []
    for image in images:
        scale = RESIZED_PX / min(image.size)
        width, height = (max(RESIZED_PX, int(side * scale)) for side in image.size)
        left, top = round((width - CROPPED_PX) / 2), round((height - CROPPED_PX) / 2)
        box = (left, top, left + CROPPED_PX, top + CROPPED_PX)
        cropped.append(image.resize((width, height), Pillow.Resampling.BICUBIC).crop(box))
    return cropped


def squared_224(images: Sequence[Image]) -> list[Image]:
    """The whole of each image, stretched to 224 x 224 pixels by torch's bicubic resampling without antialiasing.

    Source  the published `clip_similarity` of InstructPix2Pix, which does this instead of CLIP's preprocessing. Its
    values stay floats; here they are rounded to 8 bits.
    """
    import numpy as np
    import torch
    from PIL import Image as Pillow

    squared = []
    for image in images:
        image_BCHW = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)[None].float()
        resized_BCHW = torch.nn.functional.interpolate(image_BCHW, (CROPPED_PX, CROPPED_PX), mode="bicubic")
        pixels_HWC = resized_BCHW[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
        squared.append(Pillow.fromarray(pixels_HWC))
    return squared
