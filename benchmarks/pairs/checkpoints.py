"""Writes pipelines of diffusers with random weights, from a few kilobytes to the real size of Stable Diffusion.

Speed and attention do not depend on what a model has learnt. Each layout has the block structure of the published
checkpoint that it names. All weights come from one seed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zoo.tokenizers import clip_tokenizer

NUM_TOKENS = 77
VOCABULARY = 49408
NOISE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The sizes of a pipeline: settings of the UNet, of the one or two text encoders, channels of the autoencoder."""

    unet: dict[str, Any]
    texts: tuple[dict[str, Any], ...]
    vae_channels: tuple[int, ...] = (16, 16, 32, 32)
    vae_layers: int = 1
    sharpness: float = field(default=1.0)
    """Factor of the weights of queries and keys. Above 1, attention differs more from a plain mean."""


_LARGE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
_BIG_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32}
_SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2}
_SD15 = {
    "sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "attention_head_dim": 8,
    "cross_attention_dim": 768, "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
}  # fmt: skip
_VAE: dict[str, Any] = {"vae_channels": (128, 256, 512, 512), "vae_layers": 2}


def _sdxl(sample_size: int, channels: tuple[int, ...], layers: tuple[int, ...], head_dim: int, width: int, pooled: int,
          **more: Any) -> dict[str, Any]:  # fmt: skip
    """SDXL's blocks: no attention at the finest level. `width` of the text, `pooled` of the second encoder's vector."""
    time_dim = more.pop("addition_time_embed_dim", 256)
    return {
        "sample_size": sample_size, "block_out_channels": channels, "transformer_layers_per_block": layers,
        "attention_head_dim": tuple(max(1, channel // head_dim) for channel in channels), "cross_attention_dim": width,
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 2), "use_linear_projection": True,
        "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"), "addition_embed_type": "text_time",
        "addition_time_embed_dim": time_dim, "projection_class_embeddings_input_dim": pooled + 6 * time_dim,
        "layers_per_block": 2, **more,
    }  # fmt: skip


LAYOUTS = {
    "sd15": Layout(unet=_SD15, texts=(_LARGE,), **_VAE),
    "sd15-small-vae": Layout(unet=_SD15, texts=(_LARGE,)),
    "sd15-quarter": Layout(
        unet={
            **_SD15, "block_out_channels": (80, 160, 320, 320), "attention_head_dim": 4, "cross_attention_dim": 192,
            "norm_num_groups": 16,
        },
        texts=({"hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 4, "num_hidden_layers": 12},),
        vae_channels=(32, 64, 128, 128), vae_layers=2,
    ),
    "sd15-tiny": Layout(
        unet={
            **_SD15, "sample_size": 16, "block_out_channels": (16, 32, 32, 32), "attention_head_dim": 2,
            "cross_attention_dim": 64, "norm_num_groups": 8,
        },
        texts=(_SMALL,), vae_channels=(8, 8, 8, 8),
    ),
    "sdxl": Layout(
        unet=_sdxl(128, (320, 640, 1280), (1, 2, 10), 64, 2048, 1280),
        texts=(_LARGE, {**_BIG_G, "projection_dim": 1280}), **_VAE,
    ),
    "sdxl-small": Layout(
        unet=_sdxl(32, (64, 128, 256), (1, 2, 2), 32, 128, 64), texts=(_SMALL, {**_SMALL, "projection_dim": 64}),
    ),
    "sdxl-tiny": Layout(
        unet=_sdxl(16, (16, 32, 32), (1, 1, 2), 16, 128, 64, norm_num_groups=8, addition_time_embed_dim=8),
        texts=(_SMALL, {**_SMALL, "projection_dim": 64}), sharpness=6.0,
        vae_channels=(8, 8, 8, 8),
    ),
}  # fmt: skip
"""Name -> layout. `sd15` and `sdxl` are the published sizes; the others have their blocks and fewer channels."""


def write_checkpoint(folder: Path, name: str, *, sample_size: int | None = None, device: str = "cpu",
                     dtype: torch.dtype = torch.float32) -> Path:  # fmt: skip
    """A pipeline of `LAYOUTS[name]` at `folder`, unless it is there. `sample_size` is the side of its latents."""
    if (folder / "model_index.json").exists():
        return folder
    layout = LAYOUTS[name]
    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel(**layout.unet | ({"sample_size": sample_size} if sample_size else {}))
        texts = [_text_encoder(given) for given in layout.texts]
        vae = _vae(layout)
    with torch.no_grad():
        for path, weight in unet.named_parameters():
            if "to_q" in path or "to_k" in path:
                weight.mul_(layout.sharpness)
    parts: dict[str, Any] = {
        "unet": unet, "vae": vae, "text_encoder": texts[0], "tokenizer": _tokenizer(),
    }  # fmt: skip
    if len(texts) == 1:
        pipeline: Any = StableDiffusionPipeline(
            **parts, scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
    else:
        pipeline = StableDiffusionXLPipeline(
            **parts, text_encoder_2=texts[1], tokenizer_2=_tokenizer(), scheduler=EulerDiscreteScheduler(**NOISE)
        )
    pipeline.to(dtype=dtype).save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = NUM_TOKENS
    return tokenizer


def _text_encoder(given: dict[str, Any]) -> Any:
    tokenizer = _tokenizer()
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, max_position_embeddings=NUM_TOKENS, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **given,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if "projection_dim" in given else CLIPTextModel)(config)


def _vae(layout: Layout) -> AutoencoderKL:
    levels = len(layout.vae_channels)
    return AutoencoderKL(
        block_out_channels=layout.vae_channels, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, latent_channels=4, layers_per_block=layout.vae_layers,
        norm_num_groups=min(32, layout.vae_channels[0]), force_upcast=False, scaling_factor=0.18215,
    )  # fmt: skip
