"""What a recipe is: settings that open into an objective, which the loop trains without knowing what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from trainer.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Parameter

    from trainer.batch import Batch
    from trainer.diffusion import Diffusion


class Objective(Protocol):
    """A recipe with its models loaded."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """All that is trained in the course of the training, by name: what a checkpoint holds."""
        ...

    def trained_at(self, step: int) -> frozenset[str]:
        """Names of the parameters that optimiser step `step`, from 0, updates."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and its unweighted parts by name, scalars without gradient."""
        ...

    def edit(self, batch: Batch) -> list[Image]:
        """The batch's sources, edited with the weights as they are: for previews."""
        ...

    def pipeline(self) -> Any:
        """The diffusers pipeline that the result is saved as."""
        ...


class Recipe(TrainConfig, ABC):
    """Settings of one recipe: those of every training, the paper's numbers as defaults, and its own."""

    @property
    @abstractmethod
    def needs_masks(self) -> bool:
        """Whether samples must have masks; without need they are not read."""

    @abstractmethod
    def open(self, diffusion: Diffusion) -> Objective:
        """Load what the losses need and name what is trained. Raises UsageError where a model does not fit."""
