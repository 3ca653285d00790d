"""Records the cross-attention maps of a UNet: how much each image place attends to each token.

Owns recording; what the maps are compared with is a recipe's. Maps keep their gradient.

Source  Hertz et al. 2023, Prompt-to-Prompt, section 3: M = softmax(Q K^T / sqrt(d)), the mean over heads.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch import Tensor

# B rows, N heads, Q queries (places of the feature map), L tokens

CROSS = "attn2"
"""End of the name of a cross-attention in a UNet of diffusers."""
PROCESSOR = ".processor"


def cross_attentions(unet: Any, side: int, max_queries: int) -> tuple[str, ...]:
    """Names of the cross-attentions that have at most `max_queries` places for a latent of `side` x `side` cells.

    They are named for the square, so that a wider or higher latent of the same area has the same layers.
    """
    last = len(unet.config.block_out_channels) - 1
    names = [name.removesuffix(PROCESSOR) for name in unet.attn_processors]
    return tuple(
        name for name in names if name.endswith(CROSS) and (side // 2 ** _halvings(name, last)) ** 2 <= max_queries
    )


def _halvings(name: str, last: int) -> int:
    """How often the latent is halved before the layer of this name, in a UNet that halves it `last` times."""
    block, place, *_ = name.split(".")
    if block == "mid_block":
        return last
    return int(place) if block == "down_blocks" else last - int(place)


class AttentionRecorder:
    """Reads the maps of a UNet's cross-attentions. The UNet's output stays as it is.

    Maps are computed next to each layer wherever gradients are enabled, and kept within `recording` alone. So the
    backward pass of gradient checkpointing, which runs a layer once more, repeats the same operations.
    """

    def __init__(self, unet: Any, layers: Collection[str]) -> None:
        """Put recording processors around those of `layers`, which `cross_attentions` names."""
        self._kept: dict[str, Tensor] | None = None
        unet.set_attn_processor(
            {
                name: _Recording(layer, processor, self)
                if (layer := name.removesuffix(PROCESSOR)) in layers
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
        if not torch.is_grad_enabled():
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
