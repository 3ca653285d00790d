"""The choice of tokens by language models in transformers: the likeliest, or by a row's own seed.

A checkpoint's own defaults (temperature, top-p, repetition penalty) are set aside: they would change results that the
manifest does not show, and penalties break constrained JSON. Importing the module is light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# B rows, V vocabulary, L tokens


def checked_seeds(prompts: Sequence[str], temperature: float, seeds: Sequence[int] | None) -> list[int] | None:
    """One seed a prompt when sampling, None when not. Raises ValueError for seeds that are lacking or too many."""
    if temperature < 0:
        raise ValueError(f"temperature is {temperature:g}; expected 0 (the likeliest tokens) or more")
    if temperature == 0:
        return None
    if seeds is None or len(seeds) != len(prompts):
        got = "none" if seeds is None else str(len(seeds))
        raise ValueError(f"temperature {temperature:g} needs one seed a prompt: {len(prompts)} prompts, seeds: {got}")
    return list(seeds)


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token id that ends a text: those of the checkpoint's generation settings and of its tokenizer."""
    own = getattr(model.generation_config, "eos_token_id", None)
    ids = own if isinstance(own, list) else [own]
    return sorted({i for i in (*ids, tokenizer.eos_token_id) if i is not None})


def plain_generation(model: Any, tokenizer: Any) -> list[int]:
    """Replace the checkpoint's decoding defaults by none, and pad on the left. Return the ids that end a text."""
    from transformers import GenerationConfig

    stops = stop_tokens(model, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id, eos_token_id=stops or None
    )
    return stops


class SeededChoice:
    """A logits processor that makes the greedy choice a draw from softmax(logits / temperature), each row by its seed.

    The Gumbel-max trick: the largest of logits / temperature + Gumbel noise is such a draw. A row's noise comes from
    its own generator on the CPU, one draw a step, so it hangs on neither the device nor the other rows of the batch.
    Between batches only the last bits of the logits can differ, which padding and batch size round differently.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        import torch

        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores (B, V) whose largest entry is the token drawn. Masked tokens (-inf) stay out."""
        del input_ids
        import torch

        size = scores.shape[1]
        noise_BV = torch.stack([-torch.empty(size).exponential_(generator=g).log() for g in self._generators])
        return scores.float() / self._temperature + noise_BV.to(scores.device)
