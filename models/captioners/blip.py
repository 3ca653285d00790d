"""BLIP through transformers: one sentence an image.

Source  Li et al. 2022, BLIP (arXiv 2201.12086); beam search with 3 beams as in the authors' COCO configuration, whose
prompt "a picture of " is used here only where `prompt` says so. Preprocessing is the checkpoint's own processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.captioners.shared_prompt import prompt_inputs
from models.pixels import prepared_pixels
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
        self._prompt = prompt_inputs(self._processor, prompt)
        self._decoding = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "do_sample": False}

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """(B, C, H, W) of images, or of what was prepared already, in the precision of the model, on the CPU."""
        return prepared_pixels(self._processor.image_processor, images, self._model.dtype)

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image, stripped."""
        return in_batches(self._caption, images, self._batch_size)

    def _caption(self, images: Sequence[Image]) -> list[str]:
        import torch

        pixels_BCHW = self.prepare_images(images).to(self._model.device)
        texts = {name: ids_L.expand(len(images), -1).to(self._model.device) for name, ids_L in self._prompt.items()}
        inputs = {"pixel_values": pixels_BCHW, **texts}
        with torch.inference_mode():
            tokens_BL = self._model.generate(**inputs, **self._decoding)
        new_BL = tokens_BL[:, 1:]  # the token that starts a caption is unknown or ordinary to the tokenizer
        return [text.strip() for text in self._processor.batch_decode(new_BL, skip_special_tokens=True)]
