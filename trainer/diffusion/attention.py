"""Records the cross-attention maps of a UNet: how much each image place attends to each token.

Owns recording; what the maps are compared with is a recipe's. Maps keep their gradient.

Source  Hertz et al. 2023, Prompt-to-Prompt, section 3: M = softmax(Q K^T / sqrt(d)), the mean over heads.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

# B rows, N heads, Q queries (places of the feature map), L tokens

CROSS = "attn2.processor"
"""End of the name of a cross-attention's processor in a UNet of diffusers."""


class AttentionRecorder:
    """Reads the maps of a UNet's cross-attentions. The UNet's output stays as it is.

    Maps are computed next to each layer wherever gradients are enabled, and kept within `recording` alone. So the
    backward pass of gradient checkpointing, which runs a layer once more, repeats the same operations.
    """

    def __init__(self, unet: Any, max_queries: int) -> None:
        """Put recording processors around those of `unet`. Layers of more than `max_queries` places get no map."""
        self._kept: dict[str, Tensor] | None = None
        self._max_queries = max_queries
        unet.set_attn_processor(
            {
                name: _Recording(name.removesuffix(".processor"), processor, self)
                if name.endswith(CROSS)
                else processor
                for name, processor in unet.attn_processors.items()
            }
        )

    @contextmanager
    def recording(self) -> Iterator[dict[str, Tensor]]:
        """A dict that forward passes fill: name of the layer -> (B, Q, L), rows that sum to 1."""
        kept: dict[str, Tensor] = {}
        self._kept = kept
        try:
            yield kept
        finally:
            self._kept = None

    def see(self, name: str, attention: Any, hidden_BQD: Tensor, text_BLD: Tensor) -> None:
        """Compute the map of a layer from its inputs, and keep it within `recording`."""
        if not torch.is_grad_enabled() or hidden_BQD.shape[1] > self._max_queries:
            return
        query = attention.head_to_batch_dim(attention.to_q(hidden_BQD))
        key = attention.head_to_batch_dim(attention.to_k(text_BLD))
        map_BNQL = attention.get_attention_scores(query, key).unflatten(0, (len(hidden_BQD), attention.heads))
        if self._kept is not None:
            self._kept[name] = map_BNQL.mean(1)


class _Recording:
    """The processor of one layer, which shows its inputs to the recorder first."""

    def __init__(self, name: str, processor: Any, recorder: AttentionRecorder) -> None:
        self._name, self._processor, self._recorder = name, processor, recorder

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *more: Any,
        **named: Any,
    ) -> Tensor:
        text_BLD = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        self._recorder.see(self._name, attention, hidden_states, text_BLD)
        out: Tensor = self._processor(attention, hidden_states, text_BLD, attention_mask, *more, **named)
        return out
