"""Scenes encoded once by the trained autoencoder, so that the diffusion models train from memory."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from zoo.batches import pixels
from zoo.training import CHECKPOINTS, device
from zoo.world import Scene, sample_scene

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL

LATENT_PX = 16


def training_scene(index: int) -> Scene:
    """Scene number `index` of the diffusion models' training set."""
    return sample_scene(random.Random(f"latents/{index}"))


@torch.no_grad()
def encode(vae: AutoencoderKL, image_BCHW: torch.Tensor) -> torch.Tensor:
    """Scaled latents (B, 4, H / 4, W / 4) of images from -1 to 1, drawn from the posterior."""
    parts = [vae.encode(part.to(device())).latent_dist.sample() for part in image_BCHW.split(64)]
    return torch.cat(parts) * float(vae.config.scaling_factor)


def cache_path(vae: AutoencoderKL, name: str) -> Path:
    """Where what `vae` encoded is kept: another autoencoder has another file."""
    digest = hashlib.sha256()
    for tensor in vae.state_dict().values():
        digest.update(tensor.cpu().half().numpy().tobytes())
    return CHECKPOINTS / f"{name}-{digest.hexdigest()[:12]}.safetensors"


def scene_latents(vae: AutoencoderKL, count: int) -> torch.Tensor:
    """Latents of the first `count` training scenes, (count, 4, 16, 16), kept in runs/zoo for the next call."""
    path = cache_path(vae, f"latents-{count}")
    if path.exists():
        return load_file(path)["latents"].float()
    torch.manual_seed(0)
    parts = []
    for start in range(0, count, 256):
        scenes = [training_scene(index) for index in range(start, min(start + 256, count))]
        parts.append(encode(vae, pixels(scenes)).cpu())
    latents = torch.cat(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"latents": latents.half()}, path)
    return latents
