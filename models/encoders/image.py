"""DINO and DINOv2 through transformers: images alone in a space, by the CLS token.

Source  Caron et al. 2021, DINO; Oquab et al. 2023, DINOv2. Preprocessing is the checkpoint's own image processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import stacked, unit_rows
from models.pixels import prepared_pixels
from models.placement import in_batches
from models.pretrained import load_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights


class DinoEncoder:
    """An ImageEncoder over a `Dinov2Model` or `ViTModel` checkpoint: the last layer's normalised CLS token.

    That token is DINOv2's `pooler_output`, and what DINO's authors evaluate; ViTModel's own pooler, a layer that DINO
    checkpoints do not have, is not used.
    """

    dim: int

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from transformers import AutoImageProcessor, AutoModel

        self._processor, self._model = load_pretrained(AutoImageProcessor, AutoModel, weights, placement)
        self._batch_size = placement.batch_size
        self.dim = self._model.config.hidden_size

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """(B, C, H, W) of images, or of what was prepared already, in the precision of the model, on the CPU."""
        return prepared_pixels(self._processor, images, self._model.dtype)

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """(B, D), each row of length 1."""
        return stacked(in_batches(self._encode, images, self._batch_size), self.dim)

    def _encode(self, images: Sequence[Image]) -> list[Floats]:
        import torch

        pixels_BCHW = self.prepare_images(images).to(self._model.device)
        with torch.inference_mode():
            return unit_rows(self._model(pixel_values=pixels_BCHW).last_hidden_state[:, 0])
