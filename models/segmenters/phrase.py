"""CLIPSeg through transformers: where a phrase is on an image.

Source  Lüddecke & Ecker 2022, Image Segmentation Using Text and Image Prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb, same_length
from models.placement import in_batches
from models.pretrained import load_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

# B rows, H W pixels, h w the model's pixels


class ClipSeg:
    """A TextSegmenter over a `CLIPSegForImageSegmentation` checkpoint, for example CIDAS/clipseg-rd64-refined."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from transformers import AutoProcessor, CLIPSegForImageSegmentation

        self._processor, self._model = load_pretrained(AutoProcessor, CLIPSegForImageSegmentation, weights, placement)
        self._batch_size = placement.batch_size

    def segment_phrases(self, images: Sequence[Image], phrases: Sequence[str]) -> list[Floats]:
        """One phrase an image: a (H, W) map of probabilities at the image's own size.

        The sigmoid of the model's logits, resized bilinearly (averaged where the image is the smaller one). Raises
        ValueError when the two lists differ in length.
        """
        same_length(images=images, phrases=phrases)
        return in_batches(self._segment, list(zip(images, phrases, strict=True)), self._batch_size)

    def _segment(self, rows: Sequence[tuple[Image, str]]) -> list[Floats]:
        import torch

        inputs = self._processor(
            text=[phrase for _, phrase in rows],
            images=as_rgb(image for image, _ in rows),
            padding=True,
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            prob_Bhw = self._model(**inputs).logits.float().sigmoid()
        return [
            _resized(prob_hw, image.height, image.width) for prob_hw, (image, _) in zip(prob_Bhw, rows, strict=True)
        ]


def _resized(prob_hw: Any, height: int, width: int) -> Floats:
    from torch.nn.functional import interpolate

    prob_11HW: Any = interpolate(prob_hw[None, None], size=(height, width), mode="bilinear", antialias=True)
    resized: Floats = prob_11HW[0, 0].clamp(0, 1).cpu().numpy()
    return resized
