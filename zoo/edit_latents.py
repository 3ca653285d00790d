"""Exact edits of training scenes, encoded once: the pairs that zoo:ip2p learns from."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from zoo.batches import to_pixels
from zoo.latents import cache_path, training_scene
from zoo.training import device
from zoo.world import KINDS, Edit, possible_kinds, render, sample_edit

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

EDITS_AT_ONCE = 250
FURTHER_SCENES = 1_000_000


@dataclass(frozen=True, slots=True)
class EditLatents:
    """Modes of the posteriors before and after each edit, unscaled: (N, C, h, w) each."""

    source_NCHW: Tensor
    target_NCHW: Tensor


def training_edit(index: int) -> Edit:
    """Edit number `index` of the training set. The kinds take turns, as few scenes can take some of them."""
    kind, number = KINDS[index % len(KINDS)], index
    while kind not in possible_kinds(scene := training_scene(number)):
        number += FURTHER_SCENES
    return sample_edit(scene, random.Random(f"ip2p/{index}"), kind)


@torch.no_grad()
def modes(vae: AutoencoderKL, image_BCHW: Tensor) -> Tensor:
    """Unscaled modes of the posteriors of images from -1 to 1."""
    parts = [vae.encode(part.to(device())).latent_dist.mode().cpu() for part in image_BCHW.split(64)]
    return torch.cat(parts)


def edit_latents(vae: AutoencoderKL, count: int) -> EditLatents:
    """Latents of the first `count` training edits, kept in runs/zoo for the next call."""
    path = cache_path(vae, f"balanced-edits-{count}")
    if not path.exists():
        sides: dict[str, list[Tensor]] = {"source": [], "target": []}
        for start in range(0, count, EDITS_AT_ONCE):
            edits = [training_edit(index) for index in range(start, min(start + EDITS_AT_ONCE, count))]
            for side, found in sides.items():
                images = np.stack([render(getattr(edit, side)) for edit in edits])
                found.append(modes(vae, to_pixels(images)).half())
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({side: torch.cat(found) for side, found in sides.items()}, path)
    stored = load_file(path)
    return EditLatents(stored["source"].float(), stored["target"].float())
