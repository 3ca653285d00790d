"""Attention of a UNet in which the target of a pair takes over attention maps of its source.

The edit of a map is linear in it, so no map is held: fused attention runs with the source's queries and keys over the
target's values, re-indexed. Rows of a batch are N sources, then their N targets; under guidance the same 2N rows
without text stand before them and are not edited. The processors are registered once for a loaded network; the sampler
changes what they share before each call of the network.

Source  Hertz et al. 2022, Prompt-to-Prompt, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# B rows, N pairs, K pairs that share cross-attention, L tokens of text, Q queries, H heads, D width of a head


@dataclass(slots=True, eq=False)
class SharedAttention:
    """What all processors of a network do in the next call of it. Without rows or pairs the attention is plain."""

    max_self_tokens: int = 0
    """Self-attention of more queries is plain."""
    self_rows_B: Any = None
    """For each row the row whose queries and keys it takes, or None."""
    source_rows_K: Any = None
    """Rows of the sources whose cross-attention maps are taken over, or None."""
    target_rows_K: Any = None
    """Rows of the targets that take them over."""
    carried_KLL: Any = None
    """How much of the source's map of each token each token of the target takes over."""
    kept_KL: Any = None
    """Factor of the target's own map of each token."""
    maps: Any = None
    """WordMaps that collect the maps of some words, or None."""

    def clear(self) -> None:
        """Share no attention, and collect no maps."""
        self.self_rows_B = self.source_rows_K = self.target_rows_K = self.carried_KLL = self.kept_KL = None
        self.maps = None


class PairProcessor:
    """Attention processor of diffusers, for self- and cross-attention, led by one SharedAttention."""

    def __init__(self, shared: SharedAttention) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self._shared, self._plain = shared, AttnProcessor2_0()

    def __call__(
        self,
        attn: Any,
        hidden_states: Any,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        temb: Any = None,
        **_more: Any,
    ) -> Any:
        """Hidden states (B, Q, C) after attention, as `AttnProcessor2_0` gives them but for the targets' rows."""
        shared, context = self._shared, encoder_hidden_states
        if context is None and shared.self_rows_B is not None and hidden_states.shape[1] <= shared.max_self_tokens:
            return projected(attn, self._self(attn, hidden_states), hidden_states)
        collects = shared.maps is not None and hidden_states.shape[1] == shared.maps.num_queries
        if context is not None and (shared.source_rows_K is not None or collects):
            return projected(attn, self._cross(attn, hidden_states, context, collects), hidden_states)
        return self._plain(attn, hidden_states, context, attention_mask, temb)

    def _self(self, attn: Any, hidden_BQC: Any) -> Any:
        from torch.nn.functional import scaled_dot_product_attention as attention

        query, key, value = heads(attn, hidden_BQC, hidden_BQC)
        rows_B = self._shared.self_rows_B
        return attention(query[rows_B], key[rows_B], value)

    def _cross(self, attn: Any, hidden_BQC: Any, context_BLC: Any, collects: bool) -> Any:
        from torch.nn.functional import scaled_dot_product_attention as attention

        shared = self._shared
        query, key, value_BHLD = heads(attn, hidden_BQC, context_BLC)
        if collects:
            shared.maps.add(query, key)
        sources, targets = shared.source_rows_K, shared.target_rows_K
        if sources is None:
            return attention(query, key, value_BHLD)
        own_KHLD = value_BHLD[targets]
        carried_KHLD = shared.carried_KLL[:, None].to(own_KHLD.dtype) @ own_KHLD
        kept_KHLD = shared.kept_KL[:, None, :, None].to(own_KHLD.dtype) * own_KHLD
        hidden = attention(query, key, value_BHLD.index_copy(0, targets, kept_KHLD))
        return hidden.index_add(0, targets, attention(query[sources], key[sources], carried_KHLD))


def control(unet: Any) -> SharedAttention:
    """Give a UNet processors of pairs, and return what they share."""
    shared = SharedAttention()
    set_processor(unet, PairProcessor(shared))
    return shared


def set_processor(unet: Any, processor: Any) -> None:
    """Give a UNet's transformer blocks (`attn1` and `attn2`) one processor. Other attention keeps its own."""
    names = (".attn1.processor", ".attn2.processor")
    unet.set_attn_processor(
        {name: processor if name.endswith(names) else plain for name, plain in unet.attn_processors.items()}
    )


def heads(attn: Any, hidden_BQC: Any, context_BLC: Any) -> tuple[Any, Any, Any]:
    """Queries (B, H, Q, D), keys and values (B, H, L, D)."""
    if attn.norm_cross and context_BLC is not hidden_BQC:
        context_BLC = attn.norm_encoder_hidden_states(context_BLC)
    found = (attn.to_q(hidden_BQC), attn.to_k(context_BLC), attn.to_v(context_BLC))
    query, key, value = (one.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for one in found)
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    return query, key, value


def projected(attn: Any, hidden_BHQD: Any, residual_BQC: Any) -> Any:
    """Hidden states (B, Q, C) from those of the heads."""
    hidden_BQC = attn.to_out[1](attn.to_out[0](hidden_BHQD.transpose(1, 2).flatten(2)))
    if attn.residual_connection:
        hidden_BQC = hidden_BQC + residual_BQC
    return hidden_BQC / attn.rescale_output_factor
