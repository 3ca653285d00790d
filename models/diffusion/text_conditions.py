"""Texts as the UNet of a diffusers pipeline in memory takes them.

Source  Rombach et al. 2022, Latent Diffusion, for one text encoder; Podell et al. 2023, SDXL, section 2.1, for two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# B rows, L tokens, D embedding

PENULTIMATE = -2
"""The hidden states that SDXL takes."""


@dataclass(frozen=True, slots=True, eq=False)
class TextCondition:
    """Encoded texts: (B, L, D), and for SDXL the pooled ones (B, D)."""

    tokens_BLD: Any
    pooled_BD: Any = None


def is_sdxl(pipeline: Any) -> bool:
    """True for a pipeline with the second text encoder of SDXL."""
    return getattr(pipeline, "text_encoder_2", None) is not None


def with_and_without(pipeline: Any, texts: Sequence[str]) -> tuple[TextCondition, TextCondition]:
    """(B rows of texts, one row of no text), each text padded or cut to the length that its encoder reads.

    No text is the empty text or, where an SDXL checkpoint has `force_zeros_for_empty_prompt`, zeros.
    """
    both = encode_texts(pipeline, [*texts, ""])
    pooled_BD = both.pooled_BD
    given = TextCondition(both.tokens_BLD[:-1], None if pooled_BD is None else pooled_BD[:-1])
    nothing = TextCondition(both.tokens_BLD[-1:], None if pooled_BD is None else pooled_BD[-1:])
    if pooled_BD is not None and pipeline.config.force_zeros_for_empty_prompt:
        nothing = TextCondition(0 * nothing.tokens_BLD, 0 * nothing.pooled_BD)
    return given, nothing


def encode_texts(pipeline: Any, texts: list[str]) -> TextCondition:
    """B texts, each padded or cut to the length that its encoder reads."""
    import torch

    first = encoder_outputs(pipeline.tokenizer, pipeline.text_encoder, texts)
    if not is_sdxl(pipeline):
        return TextCondition(first.last_hidden_state)
    second = encoder_outputs(pipeline.tokenizer_2, pipeline.text_encoder_2, texts)
    tokens_BLD = torch.cat([one.hidden_states[PENULTIMATE] for one in (first, second)], dim=-1)
    return TextCondition(tokens_BLD, second.text_embeds)


def without_text(texts: TextCondition, nothing: TextCondition, is_dropped_B: Any) -> TextCondition:
    """The texts, with the one row of `nothing` in the place of those that are dropped."""
    import torch

    tokens_BLD = torch.where(is_dropped_B[:, None, None], nothing.tokens_BLD, texts.tokens_BLD)
    if texts.pooled_BD is None:
        return TextCondition(tokens_BLD)
    return TextCondition(tokens_BLD, torch.where(is_dropped_B[:, None], nothing.pooled_BD, texts.pooled_BD))


def word_tokens(pipeline: Any, texts: Sequence[str]) -> Any:
    """(B, L) bool: true for the tokens of each text itself, false for its start, its end and the padding."""
    tokenizer = pipeline.tokenizer
    mask_BL = tokenizer(
        list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).attention_mask.bool()
    is_inside_BL = mask_BL.roll(-1, dims=1)  # the next token is attended to: the end of text is not inside
    is_inside_BL[:, 0] = is_inside_BL[:, -1] = False
    return mask_BL & is_inside_BL


def encoder_outputs(tokenizer: Any, encoder: Any, texts: Sequence[str]) -> Any:
    """The encoder's outputs. Padding is attended to, as it was when these networks were trained."""
    tokens = tokenizer(
        list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
