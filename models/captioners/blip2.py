"""BLIP-2 through transformers: a frozen language model (OPT or Flan-T5) reads an image through 32 queries.

Source  Li et al. 2023, BLIP-2 (arXiv 2301.12597); beam search with 5 beams as in the authors' configuration.
Preprocessing is the checkpoint's own processor.
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


class Blip2:
    """A Captioner over a `Blip2ForConditionalGeneration` checkpoint, for example Salesforce/blip2-opt-2.7b.

    The language model continues `prompt`, which is no part of the caption: "Question: what is on the image?
    Answer:". All rows share it, so no row is padded.
    """

    def __init__(
        self, weights: Weights, placement: Placement, *, prompt: str = "", num_beams: int = 5, max_new_tokens: int = 30
    ) -> None:
        """Load the checkpoint. Raises ValueError for one saved before images had tokens of their own."""
        from transformers import AutoProcessor, Blip2ForConditionalGeneration

        self._processor, self._model = load_pretrained(AutoProcessor, Blip2ForConditionalGeneration, weights, placement)
        _check_image_token(weights.model_id, self._processor, self._model.config)
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
        if (
            self._model.config.use_decoder_only_language_model
        ):  # its output begins with its input, or with a start token
            given = inputs["input_ids"].shape[1] if texts else self._model.config.num_query_tokens + 1
            tokens_BL = tokens_BL[:, given:]
        return [text.strip() for text in self._processor.batch_decode(tokens_BL, skip_special_tokens=True)]


def _check_image_token(model_id: str, processor: Any, config: Any) -> None:
    """Raise ValueError where the text has no places for the queries: the library would not look at the image."""
    token = processor.tokenizer.convert_tokens_to_ids(str(processor.image_token))
    if processor.num_query_tokens != config.num_query_tokens or token != config.image_token_index:
        raise ValueError(
            f"{model_id}: processor and model disagree on the image's tokens ({processor.num_query_tokens} of id "
            f"{token}, {config.num_query_tokens} of id {config.image_token_index}); take a revision that has both"
        )
