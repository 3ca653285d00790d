"""Vision-language chat models (Qwen-VL, LLaVA, SmolVLM …) as captioners: checkpoints with a chat template.

Decoding is greedy and by these settings alone (`language.sampling`); preprocessing is the checkpoint's own processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.batches import as_rgb
from models.language.sampling import plain_generation
from models.placement import in_batches
from models.pretrained import load_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.schemes.weights import Weights

PROMPT = "Describe this image in one sentence."

# B rows, L tokens


class ChatCaptioner:
    """A Captioner that asks a vision-language chat model, one user turn with the image and `prompt`."""

    def __init__(
        self, weights: Weights, placement: Placement, *, prompt: str = PROMPT, max_new_tokens: int = 80
    ) -> None:
        """Load the checkpoint. Raises ValueError for one without a chat template."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._processor, self._model = load_pretrained(AutoProcessor, AutoModelForImageTextToText, weights, placement)
        if not getattr(self._processor, "chat_template", None):
            raise ValueError(f"{weights.model_id} has no chat template; name an instruction-tuned checkpoint")
        plain_generation(self._model, self._processor.tokenizer)
        self._batch_size = placement.batch_size
        self._prompt = prompt
        self._max_new_tokens = max_new_tokens

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image: the answer on one line, single spaces between its words."""
        return in_batches(self._caption, images, self._batch_size)

    def _caption(self, images: Sequence[Image]) -> list[str]:
        import torch

        asked = {"type": "text", "text": self._prompt}
        turns = [[{"role": "user", "content": [{"type": "image", "image": image}, asked]}] for image in as_rgb(images)]
        inputs = self._processor.apply_chat_template(
            turns,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device, dtype=self._model.dtype)
        with torch.inference_mode():
            tokens_BL = self._model.generate(**inputs, max_new_tokens=self._max_new_tokens, do_sample=False)
        answers = self._processor.batch_decode(tokens_BL[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [" ".join(answer.split()) for answer in answers]
