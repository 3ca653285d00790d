"""A recipe whose loss is a mean over samples, and that uses everything a dataset may or may not have.

Its samples differ in size, only some have a region, a latent of their image, or an instruction that names a side.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from _datasets import encoded, write_dataset
from safetensors.torch import save_model
from torch import nn
from torch.nn.functional import avg_pool2d

from trainer.arrays import ArraySpec
from trainer.recipe import ParameterGroup, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.batch import Batch
    from trainer.draws import Draws
    from trainer.recipe import TrainContext

SIZES = ((32, 32), (48, 32), (32, 60), (40, 36), (64, 32))
LATENTS = ArraySpec(made_by={"latent_model": "m"}, shapes={"source_latent": (3, 8, 8)})


def mixed_members(index, *, has_region):
    """Suffix -> bytes of sample `index`, the same at every call."""
    generator = np.random.default_rng(index)
    width, height = SIZES[index % len(SIZES)]
    pixels = [generator.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8) for _ in range(2)]
    source, target = (one.repeat(4, 0).repeat(4, 1) for one in pixels)
    light = {"instruction": "move it to the left" if index % 3 == 0 else f"edit {index}"}
    members = {"source.png": encoded(source, "PNG"), "target.png": encoded(target, "PNG")}
    if index % 2:
        buffer = io.BytesIO()
        np.save(buffer, generator.normal(size=(3, 8, 8)).astype(np.float16))
        members["source_latent.npy"] = buffer.getvalue()
        light["latent_model"] = "m"
    if has_region:
        region = np.zeros((height, width), np.uint8)
        region[:, : width // 2] = 255
        members["region_mask.png"] = encoded(region, "PNG")
    return {**members, "json": json.dumps(light).encode()}


def write_mixed(folder, counts, *, has_region, name):
    """A dataset of this name. Without regions its samples are others than with them."""
    made = write_dataset(folder, counts, lambda i: mixed_members(i if has_region else i + 100, has_region=has_region))
    listed = json.loads((folder / "shards.json").read_text())
    (folder / "shards.json").write_text(json.dumps({**listed, "dataset": name}))
    return str(made)


class Mixed(Recipe):
    """Settings of the recipe."""

    recipe: ClassVar[str] = "mixed"
    reads: ClassVar = ("source_images", "target_image", "instruction")
    reads_if_present: ClassVar = ("region_mask_png", "source_latent")
    filled: ClassVar = {"region_mask_png": 1.0}
    sided_texts: ClassVar = ("instruction",)

    size_px: int = 32
    horizontal_flip: bool = True
    learning_rate: float = 1e-3

    def open(self, ctx: TrainContext) -> MixedObjective:
        return MixedObjective()


class MixedObjective:
    """Squared error inside of the region, and of the mean of the latent."""

    arrays = (LATENTS,)
    editor = None  # it draws no previews

    def __init__(self) -> None:
        self._network = nn.Conv2d(3, 3, 3, padding=1)
        self.modules = {"network": self._network}
        self.groups = (ParameterGroup(names=("network.weight", "network.bias")),)

    def trained_at(self, step: int) -> frozenset[str]:
        return frozenset(self.groups[0].names)

    def loss(self, batch: Batch, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        source_BCHW, target_BCHW = batch["source_images"][0], batch["target_image"]
        noise_BCHW = draws.normal("noise", source_BCHW.shape[1:])
        error_BCHW = batch["region_mask_png"] * (self._network(source_BCHW + 0.1 * noise_BCHW) - target_BCHW)
        latent_BChw = batch.completed("source_latent", lambda rows: avg_pool2d(source_BCHW[rows], 4))
        latent_B = (self._network(latent_BChw)).mean((1, 2, 3))
        loss = error_BCHW.square().mean((1, 2, 3)).mean() + (latent_B - 0.5).square().mean()
        return loss, {"latent": latent_B.detach().mean()}

    def save(self, folder: Path) -> None:
        save_model(self._network, str(folder / "model.safetensors"))
