"""The text encoders of a diffusers pipeline: encode texts as the UNet is conditioned on them.

Source  Rombach et al. 2022, Latent Diffusion, for one encoder; Podell et al. 2023, SDXL, section 2.1, for two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.diffusion.text_conditions import PENULTIMATE, encoder_outputs
from models.placement import in_batches
from models.pretrained import no_progress_bars
from models.shared import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

FIRST, SECOND = "text_encoder", "text_encoder_2"
"""Folders of a checkpoint. SDXL has both, its refiner the second alone, the others the first alone."""
TOKENIZERS = {FIRST: "tokenizer", SECOND: "tokenizer_2"}

# B texts, L tokens, D embedding


class ClipTextConditioner:
    """A TextConditioner over the CLIP text encoders of a checkpoint of SD 1.x, SD 2.x or SDXL."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the text encoders alone. Raises ValueError for a checkpoint without any."""
        names = [name for name in TOKENIZERS if (Path(weights.location) / name).is_dir()]
        if not names:
            raise ValueError(f"{weights.model_id} has no folder {FIRST}; name a pipeline that diffusers saved")
        self._is_sdxl = SECOND in names
        with no_progress_bars():
            self._parts = [_load(name, weights, placement) for name in names]
        self._batch_size = placement.batch_size

    def encode_prompts(self, texts: Sequence[str]) -> list[tuple[Floats, Floats | None]]:
        """Hidden states (L, D) and, for SDXL, the pooled embedding (D,) of each text, as its pipeline makes them.

        A text is padded to the L tokens that the encoder reads, or cut. SDXL: the penultimate hidden states of its
        encoders, one beside the other, and the pooled output of the last. Else: the last hidden states. Equal texts are
        encoded once and share their arrays.
        """
        distinct = list(dict.fromkeys(texts))
        found = dict(zip(distinct, in_batches(self._encode, distinct, self._batch_size), strict=True))
        return [found[text] for text in texts]

    def _encode(self, texts: Sequence[str]) -> list[tuple[Floats, Floats | None]]:
        import torch

        with torch.inference_mode():
            outputs = [encoder_outputs(tokenizer, encoder, texts) for tokenizer, encoder in self._parts]
            if not self._is_sdxl:
                return [(text_LD, None) for text_LD in _floats(outputs[0].last_hidden_state)]
            text_BLD = torch.cat([output.hidden_states[PENULTIMATE] for output in outputs], dim=-1)
            return list(zip(_floats(text_BLD), _floats(outputs[-1].text_embeds), strict=True))


def _load(name: str, weights: Weights, placement: Placement) -> tuple[Any, Any]:
    """(tokenizer, encoder in evaluation mode)."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    encoder_class: Any = CLIPTextModelWithProjection if name == SECOND else CLIPTextModel
    arguments = weights.pretrained_arguments()
    tokenizer = CLIPTokenizer.from_pretrained(weights.location, subfolder=TOKENIZERS[name], **arguments)

    def load() -> Any:
        encoder = encoder_class.from_pretrained(
            weights.location, subfolder=name, dtype=placement.torch_dtype(), **arguments
        )
        return encoder.to(placement.torch_device()).eval()

    return tokenizer, shared(weights, placement, name, load)


def _floats(values: Any) -> list[Floats]:
    """The rows of a tensor as arrays of their own."""
    return [row.copy() for row in values.float().cpu().numpy()]
