"""InstructPix2Pix: trains a latent diffusion model on pairs of images and the instructions that lead between them.

The UNet takes the latent of the source image beside the noisy one, and with `region` also the latent of the region,
which is encoded as an RGB image, white where the edit may change the image. Both are modes of the autoencoder's
posterior without its scaling factor. The target's latent is the scaled mode, so that latents of a dataset and those
encoded here are the same.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2; Zhao et al. 2024, UltraEdit, appendix A.4, for regions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from models.diffusion.instruct_pix2pix import InstructPix2Pix as Editor
from models.diffusion.instruct_pix2pix import RegionInstructPix2Pix as RegionEditor
from trainer.diffusion.dropout import Dropout
from trainer.diffusion.editors import EditorObjective, open_editor
from trainer.diffusion.loss_weights import LossWeights, loss_weights
from trainer.diffusion.schedule import noised
from trainer.diffusion.settings import EditorRecipe
from trainer.recipes.ip2p.conditions import Conditions

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.batch import Batch
    from trainer.diffusion.editors import OpenedEditor
    from trainer.draws import Draws
    from trainer.recipe import TrainContext

# B rows, C channels, h w cells of a latent

log = logging.getLogger(__name__)


class InstructPix2Pix(EditorRecipe):
    """Settings of InstructPix2Pix, and of UltraEdit's regions. It starts from a text-to-image model or an editor."""

    recipe: ClassVar[str] = "ip2p"
    reads: ClassVar = ("source_images", "target_image", "instruction")
    reads_if_present: ClassVar = (
        "region_mask_png", "source_latent", "target_latent", "region_latent", "instruction_emb",
        "instruction_pooled_emb",
    )  # fmt: skip
    filled: ClassVar = {"region_mask_png": 1.0}
    sided_texts: ClassVar = ("instruction",)

    learning_rate: float = Field(1e-4, gt=0)
    steps: int = Field(10_000, ge=1)
    horizontal_flip: bool = True
    """Mirror half of the samples, but none whose instruction names a side."""

    use_text_embeddings: bool = True
    """Take embeddings of the instructions from the dataset where they are of this model."""
    region: bool = False
    """Take the region in which the edit may change the image as a third latent; white where a sample has none."""
    loss_weights: LossWeights = "plain"
    """How errors at each noise level count: all alike, by min-SNR, or as the squared error of the clean latent."""
    min_snr_gamma: float = Field(5.0, gt=0)
    prediction_type: Literal["checkpoint", "epsilon", "v_prediction"] = "checkpoint"
    """What the UNet learns to predict. Another type than the checkpoint's is saved with the result."""

    def open(self, ctx: TrainContext) -> InstructPix2PixObjective:
        """The objective on the training's device.

        Raises UsageError for a model of another kind or width, and for a size that it cannot take, before weights load.
        """
        prediction = None if self.prediction_type == "checkpoint" else self.prediction_type
        return InstructPix2PixObjective(self, open_editor(self, ctx, region=self.region, prediction=prediction))


class InstructPix2PixObjective(EditorObjective):
    """The denoising loss under conditions of which some are dropped, and the editor over the weights as they are."""

    def __init__(self, settings: InstructPix2Pix, opened: OpenedEditor) -> None:
        super().__init__(settings, opened, RegionEditor if settings.region else Editor)
        self._settings = settings
        self._dropout = Dropout(settings.text_dropout, settings.image_dropout, settings.both_dropout)
        self._conditions = Conditions(self._checkpoint, takes_region=settings.region)
        self._is_first = True
        if settings.use_text_embeddings:
            self.arrays = (*self.arrays, self._checkpoint.text_spec())

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted squared error of noise or velocity over the batch, and `error`, the same without weights."""
        settings, checkpoint, schedule = self._settings, self._checkpoint, self._checkpoint.schedule
        self._report_regions(batch)
        target_BChw = self._conditions.target(batch)
        timestep_B = draws.integers("timestep", schedule.num_timesteps).to(checkpoint.device)
        noise_BChw = draws.normal("noise", target_BChw.shape[1:]).to(checkpoint.device)
        dropped = self._dropout.dropped(draws.uniform("dropout").to(checkpoint.device))
        alpha_B = schedule.alpha(timestep_B)
        noisy_BChw = noised(target_BChw, noise_BChw, alpha_B)
        input_BChw = torch.cat([noisy_BChw, self._conditions.images(batch, dropped.image_B)], 1)
        out_BChw = checkpoint.predict(input_BChw, timestep_B, self._conditions.texts(batch, dropped.text_B))
        wanted_BChw = schedule.target(target_BChw, noise_BChw, timestep_B)
        error_B = (out_BChw - wanted_BChw).square().mean((1, 2, 3))
        weight_B = loss_weights(settings.loss_weights, alpha_B, schedule.prediction, settings.min_snr_gamma)
        return (weight_B * error_B).mean(), {"error": error_B.detach().mean()}

    def _report_regions(self, batch: Batch) -> None:
        """Say once where the first samples have no region."""
        if self._is_first and self._settings.region and bool((batch["region_mask_png"] == 1).all()):
            log.info("the first samples have no region; theirs is white, the whole image")
        self._is_first = False
