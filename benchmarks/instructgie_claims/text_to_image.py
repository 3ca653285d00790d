"""A recipe that trains a text-to-image model: the start of the benchmark's trainings.

Source  Rombach et al. 2022, Latent Diffusion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.errors import UsageError
from models.diffusion.text_conditions import without_text
from trainer.diffusion.checkpoint import Checkpoint
from trainer.diffusion.loss_weights import LossWeights, loss_weights
from trainer.diffusion.schedule import noised
from trainer.diffusion.settings import DiffusionRecipe
from trainer.recipe import ParameterGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor

    from models.protocols import EditRequest
    from trainer.arrays import ArraySpec
    from trainer.batch import Batch
    from trainer.draws import Draws
    from trainer.recipe import TrainContext

# B rows, C channels, h w cells of a latent


class NotPreviewed:
    """An Editor in name alone: a text-to-image model has no source to edit."""

    needs = uses = trained_on = frozenset[str]()

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:  # noqa: ARG002  refused
        """Raise UsageError."""
        raise UsageError(f"text-to-image has no preview of {len(requests)}; set run_on.preview_every=0")


class TextToImage(DiffusionRecipe):
    """Settings of a text-to-image training on target images and their captions."""

    recipe: ClassVar[str] = "text-to-image"
    reads: ClassVar = ("target_image", "target_caption")

    loss_weights: LossWeights = "min_snr"
    min_snr_gamma: float = Field(5.0, gt=0)
    text_dropout: float = Field(0.1, ge=0, le=1)
    """Share of samples that lose their text."""

    def open(self, ctx: TrainContext) -> TextToImageObjective:
        """The objective on the training's device."""
        return TextToImageObjective(self, Checkpoint(self.model, ctx))


class TextToImageObjective:
    """The denoising loss of the whole UNet."""

    arrays: tuple[ArraySpec, ...] = ()

    def __init__(self, settings: TextToImage, checkpoint: Checkpoint) -> None:
        self._settings, self._checkpoint, self._no_text = settings, checkpoint, checkpoint.no_text()
        self.modules = {"unet": checkpoint.unet}
        self.groups = (ParameterGroup(names=tuple(f"unet.{name}" for name, _ in checkpoint.unet.named_parameters())),)
        self.editor = NotPreviewed()

    def trained_at(self, step: int) -> frozenset[str]:  # noqa: ARG002  all steps are alike
        """Everything, at every step."""
        return frozenset(self.groups[0].names)

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted squared error of the output, and the same without weights."""
        checkpoint, schedule, settings = self._checkpoint, self._checkpoint.schedule, self._settings
        latent_BChw = checkpoint.latents.encode(batch["target_image"])
        timestep_B = draws.integers("timestep", schedule.num_timesteps).to(checkpoint.device)
        noise_BChw = draws.normal("noise", latent_BChw.shape[1:]).to(checkpoint.device)
        is_dropped_B = (draws.uniform("dropout") < settings.text_dropout).to(checkpoint.device)
        texts = without_text(checkpoint.encode_texts(batch["target_caption"]), self._no_text, is_dropped_B)
        alpha_B = schedule.alpha(timestep_B)
        out_BChw = checkpoint.predict(noised(latent_BChw, noise_BChw, alpha_B), timestep_B, texts)
        error_B = (out_BChw - schedule.target(latent_BChw, noise_BChw, timestep_B)).square().mean((1, 2, 3))
        weight_B = loss_weights(settings.loss_weights, alpha_B, schedule.prediction, settings.min_snr_gamma)
        return (weight_B * error_B).mean(), {"error": error_B.detach().mean()}

    def save(self, folder: Path) -> None:
        """The checkpoint as a pipeline, with the UNet as it is now."""
        self._checkpoint.save(folder, self._settings.run_on.save_dtype)
