"""The frozen text encoders of a checkpoint: one in Stable Diffusion 1 and 2, two in SDXL.

Owns the embeddings that a UNet takes for a text, and for no text. Texts are padded to full length, as the pipelines of
diffusers pad them, and a longer text is cut.

Source  Rombach et al. 2022, Latent Diffusion; Podell et al. 2023, SDXL, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# B rows, L tokens, D embedding


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """Hidden states of texts, and the pooled embeddings that SDXL takes beside them."""

    hidden_BLD: Tensor
    pooled_BD: Tensor | None = None

    def replaced(self, is_replaced_B: Tensor, other: TextEmbeddings) -> TextEmbeddings:
        """These embeddings, with the only row of `other` in the rows where `is_replaced_B` is true."""
        hidden_BLD = torch.where(is_replaced_B[:, None, None], other.hidden_BLD, self.hidden_BLD)
        if self.pooled_BD is None or other.pooled_BD is None:
            return TextEmbeddings(hidden_BLD)
        return TextEmbeddings(hidden_BLD, torch.where(is_replaced_B[:, None], other.pooled_BD, self.pooled_BD))


class TextEncoders:
    """Encodes with the text encoders of a pipeline of diffusers, in the type that their weights have."""

    def __init__(self, pipeline: Any) -> None:
        self._is_zero_for_none = bool(pipeline.config.get("force_zeros_for_empty_prompt", False))
        self._pairs = [
            (getattr(pipeline, f"tokenizer{place}"), getattr(pipeline, f"text_encoder{place}"))
            for place in ("", "_2")
            if getattr(pipeline, f"text_encoder{place}", None) is not None
        ]

    @property
    def modules(self) -> list[Any]:
        """The encoders, as modules of torch."""
        return [encoder for _, encoder in self._pairs]

    def encode(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embeddings of B texts in float32, without a gradient.

        Of one encoder they are its last hidden states. Of two they are the last but one of both, side by side, and the
        pooled embedding of the second.
        """
        outputs = [self._output(tokenizer, encoder, texts) for tokenizer, encoder in self._pairs]
        if len(outputs) == 1:
            return TextEmbeddings(outputs[0][0].float())
        hidden_BLD = torch.cat([output.hidden_states[-2] for output in outputs], -1)
        return TextEmbeddings(hidden_BLD.float(), outputs[-1][0].float())

    def none(self) -> TextEmbeddings:
        """The single row that stands for no text: the empty text, or zeros where the pipeline's config says so."""
        empty = self.encode([""])
        if not self._is_zero_for_none or empty.pooled_BD is None:
            return empty
        return TextEmbeddings(torch.zeros_like(empty.hidden_BLD), torch.zeros_like(empty.pooled_BD))

    def _output(self, tokenizer: Any, encoder: Any, texts: Sequence[str]) -> Any:
        tokens = tokenizer(
            list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            return encoder(tokens.input_ids.to(encoder.device), output_hidden_states=len(self._pairs) > 1)
