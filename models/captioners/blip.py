"""BLIP through transformers: one sentence an image.

Source  Li et al. 2022, BLIP (arXiv 2201.12086); beam search with 3 beams as in the authors' COCO configuration, whose
prompt "a picture of " is used here only where `prompt` says so. Preprocessing is the checkpoint's own processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.batches import as_rgb
from models.placement import in_batches
from models.pretrained import load_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.schemes.weights import Weights

# B rows, C channels, H W pixels, L tokens


class Blip:
    """A Captioner over a `BlipForConditionalGeneration` checkpoint, base or large.

    A caption starts with `prompt`, which stays a part of it: "a photography of" gives "a photography of a dog".
    """

    def __init__(
        self, weights: Weights, placement: Placement, *, prompt: str = "", num_beams: int = 3, max_new_tokens: int = 30
    ) -> None:
        """Load the checkpoint."""
        from transformers import AutoProcessor, BlipForConditionalGeneration

        self._processor, self._model = load_pretrained(AutoProcessor, BlipForConditionalGeneration, weights, placement)
        self._batch_size = placement.batch_size
        self._prompt = prompt
        self._decoding = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "do_sample": False}

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image, stripped."""
        return in_batches(self._caption, images, self._batch_size)

    def _caption(self, images: Sequence[Image]) -> list[str]:
        import torch

        texts = {"text": [self._prompt] * len(images)} if self._prompt else {}
        inputs = self._processor(images=as_rgb(images), **texts, return_tensors="pt").to(self._model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            tokens_BL = self._model.generate(**inputs, **self._decoding)
        new_BL = tokens_BL[:, 1:]  # the token that starts a caption is unknown or ordinary to the tokenizer
        return [text.strip() for text in self._processor.batch_decode(new_BL, skip_special_tokens=True)]
