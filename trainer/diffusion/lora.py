"""Low-rank adapters of a UNet: added to its attention layers, and saved as diffusers reads them.

Adapted are the projections to queries, keys and values and the output of every self- and cross-attention, as in the
training scripts of diffusers. Alpha equals the rank, so the adapters' product is added at scale 1.

Source  Hu et al. 2021, LoRA, section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
"""Ends of the names of the layers that are adapted."""
PARAMETER = ".lora_"
"""Part of the name of every parameter of an adapter."""


def add_lora(unet: Any, rank: int) -> None:
    """Add adapters of `rank` to the attention layers. They change no output at first."""
    from peft import LoraConfig

    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(LAYERS)))


def save_lora(unet: Any, folder: Path, pipeline: Any, dtype: str) -> None:
    """Write the adapters of `unet` into `folder`, for `load_lora_weights` of pipelines such as `pipeline`."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    of_dtype = {name: layer.to(getattr(torch, dtype)) for name, layer in layers.items()}
    pipeline.save_lora_weights(folder, unet_lora_layers=of_dtype, safe_serialization=True)
