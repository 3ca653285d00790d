"""The pixels that a network of transformers takes, made by the checkpoint's own image processor on the CPU.

It is the part of a wrapper's work that needs no network, so that it can run in another thread (`prepare_images`).
Processors with steps of their own are called as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image
    from torch import Tensor

# B rows, C channels, H W pixels


def prepared_pixels(processor: Any, images: Sequence[Image], dtype: Any) -> Tensor:
    """(B, C, H, W) in precision `dtype` on the CPU, of images, or of what this function returned of them."""
    import torch

    return images if isinstance(images, torch.Tensor) else pixel_values(processor, images).to(dtype)


def pixel_values(processor: Any, images: Sequence[Image]) -> Tensor:
    """(B, C, H, W) float32 on the CPU, of one image or more: the `pixel_values` that the image processor gives.

    Resizing is the processor's own, but of one image at a time with the channels last, as Pillow has them: the same
    bytes as with the channels first, in less time.
    """
    images = as_rgb(images)
    if not _resizes_plainly(processor):
        return processor(images=images, return_tensors="pt")["pixel_values"]  # type: ignore[no-any-return]
    resized = [_resized(processor, image) for image in images]
    found: Tensor = processor(images=resized, do_resize=False, return_tensors="pt")["pixel_values"]
    return found


def _resizes_plainly(processor: Any) -> bool:
    """True where the processor begins with `resize`, as the common class of transformers has it."""
    from transformers.image_processing_backends import TorchvisionBackend

    own, common = type(processor), TorchvisionBackend
    is_common = isinstance(processor, common) and all(
        getattr(own, name) is getattr(common, name) for name in ("_preprocess", "preprocess", "process_image")
    )
    return bool(is_common and processor.do_resize)


def _resized(processor: Any, image: Image) -> Tensor:
    import numpy as np
    import torch

    pixel_HWC = torch.from_numpy(np.array(image))
    resized: Tensor = processor.resize(
        image=pixel_HWC.permute(2, 0, 1)[None], size=processor.size, resample=processor.resample
    )
    return resized[0]
