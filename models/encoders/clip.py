"""CLIP and SigLIP through transformers: images and texts in one space.

Source  Radford et al. 2021, CLIP; Zhai et al. 2023, SigLIP. Preprocessing is the checkpoint's own processor.
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

# B rows, D embedding


class Clip:
    """An ImageTextEncoder over a `CLIPModel` or `SiglipModel` checkpoint with its processor."""

    dim: int
    scale: float

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the checkpoint. Raises ValueError when it is of a kind that has no text or no image tower."""
        from transformers import AutoModel, AutoProcessor

        self._processor, self._model = load_pretrained(AutoProcessor, AutoModel, weights, placement)
        if not (hasattr(self._model, "get_image_features") and hasattr(self._model, "get_text_features")):
            raise ValueError(
                f"{weights.model_id} is a {type(self._model).__name__}, which does not embed both images and texts; "
                "name a CLIPModel or SiglipModel checkpoint"
            )
        self._batch_size = placement.batch_size
        config = self._model.config
        self.dim = getattr(config, "projection_dim", None) or config.vision_config.hidden_size
        self._is_siglip = config.model_type.startswith("siglip")
        self.scale = float(self._model.logit_scale.detach().float().exp())

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """(B, C, H, W) of images, or of what was prepared already, in the precision of the model, on the CPU."""
        return prepared_pixels(self._processor.image_processor, images, self._model.dtype)

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """(B, D), each row of length 1."""
        return stacked(in_batches(self._encode_images, images, self._batch_size), self.dim)

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(B, D), each row of length 1. A text longer than the model reads is cut."""
        return stacked(in_batches(self._encode_texts, texts, self._batch_size), self.dim)

    def _encode_images(self, images: Sequence[Image]) -> list[Floats]:
        import torch

        pixels_BCHW = self.prepare_images(images).to(self._model.device)
        with torch.inference_mode():
            return unit_rows(self._model.get_image_features(pixel_values=pixels_BCHW).pooler_output)

    def _encode_texts(self, texts: Sequence[str]) -> list[Floats]:
        import torch

        length = self._model.config.text_config.max_position_embeddings
        # SigLIP was trained on, and attends to, the padding of full length, which a mask would hide
        inputs = self._processor.tokenizer(
            list(texts),
            padding="max_length" if self._is_siglip else "longest",
            truncation=True,
            max_length=length,
            return_attention_mask=not self._is_siglip,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return unit_rows(self._model.get_text_features(**inputs.to(self._model.device)).pooler_output)
