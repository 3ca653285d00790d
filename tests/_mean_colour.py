"""A recipe outside of the project: it predicts the mean colour of the edited image from the instruction alone.

Its editor blends the image with that colour. The walked example of docs/extending.md.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from PIL import Image
from pydantic import Field
from safetensors.torch import load_model, save_model
from torch import nn

from core.settings import Settings
from trainer.recipe import ParameterGroup, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.placement import Placement
    from models.protocols import EditRequest
    from models.schemes.weights import Weights
    from trainer.batch import Batch
    from trainer.draws import Draws
    from trainer.recipe import TrainContext


class WordsToColour(nn.Module):
    """The mean of learnt word vectors, normalised, to a colour from -1 to 1."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(1024, num_features)
        self.norm = nn.BatchNorm1d(num_features)  # has buffers, and differs between train and eval mode
        self.colour = nn.Linear(num_features, 3)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        numbers = [[zlib.crc32(word.encode()) % 1024 for word in text.lower().split()] or [0] for text in texts]
        device = self.colour.weight.device
        vectors = torch.cat([self.words(torch.tensor([row], device=device)) for row in numbers])
        return self.colour(self.norm(vectors)).tanh()


class TintSettings(Settings):
    """Settings of the editor."""

    strength: float = Field(0.5, ge=0, le=1)


class Tint:
    """An Editor that blends each image with the colour that its instruction leads to."""

    Settings: ClassVar = TintSettings
    needs: ClassVar = frozenset({"instruction"})
    uses: ClassVar = frozenset()
    trained_on: ClassVar = frozenset()

    def __init__(self, weights: Weights, placement: Placement, settings: TintSettings) -> None:
        folder = Path(weights.location)
        network = WordsToColour(json.loads((folder / "config.json").read_text())["num_features"])
        load_model(network, folder / "model.safetensors")
        self._network, self._settings = network.to(placement.torch_device()).eval(), settings

    @classmethod
    def over(cls, network: WordsToColour, settings: TintSettings) -> Tint:
        editor = cls.__new__(cls)
        editor._network, editor._settings = network, settings
        return editor

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image.Image]:
        with torch.inference_mode():
            levels = ((self._network([one.instruction for one in requests]) + 1) * 127.5).round().int().tolist()
        plain = [Image.new("RGB", one.image.size, tuple(rgb)) for one, rgb in zip(requests, levels, strict=True)]
        return [Image.blend(r.image, p, self._settings.strength) for r, p in zip(requests, plain, strict=True)]


class MeanColour(Recipe):
    """Settings of the recipe."""

    recipe: ClassVar[str] = "mean-colour"
    reads: ClassVar = ("target_image", "instruction")

    size_px: int = 32
    num_features: int = Field(16, ge=1)
    jitter: float = Field(0.02, ge=0)

    def open(self, ctx: TrainContext) -> MeanColourObjective:
        return MeanColourObjective(self)


class MeanColourObjective:
    """The squared distance to the target's mean colour, whose jitter is drawn for each sample."""

    arrays = ()  # it uses no arrays of the dataset

    def __init__(self, settings: MeanColour) -> None:
        self._settings, self._network = settings, WordsToColour(settings.num_features)
        self.modules = {"network": self._network}
        words = ParameterGroup(names=("network.words.weight",), learning_rate=0.1, weight_decay=0.0)
        names = (f"network.{name}" for name, _ in self._network.named_parameters())
        self.groups = (words, ParameterGroup(names=tuple(name for name in names if name not in words.names)))
        self.editor = Tint.over(self._network, TintSettings())

    def trained_at(self, step: int) -> frozenset[str]:
        return frozenset(name for group in self.groups for name in group.names)

    def loss(self, batch: Batch, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        colour_B3 = batch["target_image"].mean((2, 3)) + self._settings.jitter * draws.normal("jitter", (3,))
        loss = (self._network(batch["instruction"]) - colour_B3).square().mean()
        return loss, {"colour": loss.detach()}

    def save(self, folder: Path) -> None:
        save_model(self._network, str(folder / "model.safetensors"))
        config = {"model_type": "mean-colour", "num_features": self._settings.num_features}
        (folder / "config.json").write_text(json.dumps(config))
