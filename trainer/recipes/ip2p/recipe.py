"""InstructPix2Pix: trains a latent diffusion model on pairs of images and the instructions that lead between them.

The UNet takes the latent of the source image beside the noisy one, and with `region` also the latent of the region,
which is encoded as an RGB image, white where the edit may change the image. Both are modes of the autoencoder's
posterior without its scaling factor. The target's latent is the scaled mode, so that latents of a dataset and those
encoded here are the same.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2; Zhao et al. 2024, UltraEdit, appendix A.4, for regions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from core.errors import UsageError
from models.diffusion.pix2pix_kinds import PIX2PIX, PIX2PIX_XL, REGION_OF, REGION_PIX2PIX, REGION_PIX2PIX_XL
from trainer.diffusion.checkpoint import TEXT_TO_IMAGE, Checkpoint
from trainer.diffusion.conv_in import widen_conv_in
from trainer.diffusion.lora import PARAMETER
from trainer.diffusion.loss_weights import LossWeights, loss_weights
from trainer.diffusion.schedule import noised
from trainer.diffusion.settings import DiffusionRecipe, DiffusionRunOn
from trainer.diffusion.start import read_start
from trainer.diffusion.texts import TextEmbeddings
from trainer.recipe import ParameterGroup
from trainer.recipes.ip2p.dropout import Dropout

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.protocols import Editor
    from trainer.batch import Batch
    from trainer.diffusion.start import Start
    from trainer.draws import Draws
    from trainer.recipe import TrainContext

# B rows, C channels, H W pixels, h w cells of a latent, L tokens, D embedding

log = logging.getLogger(__name__)

TEXT_TO_IMAGE_XL = "StableDiffusionXLPipeline"
EDITOR_OF = {
    TEXT_TO_IMAGE: PIX2PIX, PIX2PIX: PIX2PIX, REGION_PIX2PIX: PIX2PIX,
    TEXT_TO_IMAGE_XL: PIX2PIX_XL, PIX2PIX_XL: PIX2PIX_XL, REGION_PIX2PIX_XL: PIX2PIX_XL,
}  # fmt: skip
"""Kind of the checkpoint to start from -> kind of the editor without region."""
LATENTS_TAKEN = {
    TEXT_TO_IMAGE: 1,
    TEXT_TO_IMAGE_XL: 1,
    PIX2PIX: 2,
    PIX2PIX_XL: 2,
    REGION_PIX2PIX: 3,
    REGION_PIX2PIX_XL: 3,
}
"""Kind -> latents that its UNet takes: the noisy one, that of the source, that of the region."""
WHITE = 1.0
CONV_IN = "unet.conv_in."


class InstructPix2PixRunOn(DiffusionRunOn):
    """Settings of speed, and those of the editor of previews."""


class InstructPix2Pix(DiffusionRecipe):
    """Settings of InstructPix2Pix, and of UltraEdit's regions. It starts from a text-to-image model or an editor."""

    recipe: ClassVar[str] = "ip2p"
    reads: ClassVar = ("source_images", "target_image", "instruction")
    reads_if_present: ClassVar = (
        "region_mask_png", "source_latent", "target_latent", "region_latent", "instruction_emb",
        "instruction_pooled_emb",
    )  # fmt: skip

    size_px: int = Field(256, ge=8)
    learning_rate: float = Field(1e-4, gt=0)
    steps: int = Field(10_000, ge=1)
    horizontal_flip: bool = True

    region: bool = False
    """Take the region in which the edit may change the image as a third latent; white where a sample has none."""
    text_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose their text alone."""
    image_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose source and region alone."""
    both_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose text, source and region."""
    loss_weights: LossWeights = "plain"
    """How errors at each noise level count: all alike, by min-SNR, or as the squared error of the clean latent."""
    min_snr_gamma: float = Field(5.0, gt=0)
    prediction_type: Literal["checkpoint", "epsilon", "v_prediction"] = "checkpoint"
    """What the UNet learns to predict. Another type than the checkpoint's is saved with the result."""
    trained: Literal["unet", "lora"] = "unet"
    """The whole UNet, or its first convolution and low-rank adapters of its attention layers."""
    lora_rank: int = Field(64, ge=1)
    conv_in_learning_rate: float | None = Field(None, gt=0)
    """Learning rate of the first convolution, whose new channels start at zero; None: that of the rest."""

    run_on: InstructPix2PixRunOn = InstructPix2PixRunOn()

    @model_validator(mode="after")
    def _shares_leave_something(self) -> Self:
        total = self.text_dropout + self.image_dropout + self.both_dropout
        if total > 1:
            raise ValueError(f"text_dropout, image_dropout and both_dropout add up to {total:g}; expected at most 1")
        return self

    def open(self, ctx: TrainContext) -> InstructPix2PixObjective:
        """The objective on the training's device. Raises UsageError for a model of another kind or width."""
        start = read_start(self.model, tuple(EDITOR_OF))
        in_channels = self._in_channels(start)
        prediction = None if self.prediction_type == "checkpoint" else self.prediction_type
        checkpoint = Checkpoint(self.model, ctx, tuple(EDITOR_OF), prediction=prediction)
        widen_conv_in(checkpoint.unet, in_channels)
        if self.trained == "lora":
            checkpoint.add_lora(self.lora_rank)
        kind = EDITOR_OF[start.kind]
        return InstructPix2PixObjective(self, checkpoint, REGION_OF[kind] if self.region else kind)

    def _in_channels(self, start: Start) -> int:
        """Channels of the UNet's input. Raises UsageError where the checkpoint's UNet does not lead there."""
        has, latents = LATENTS_TAKEN[start.kind] * start.latent_channels, 3 if self.region else 2
        if start.in_channels != has:
            raise UsageError(
                f"model {self.model!r} has a UNet of {start.in_channels} input channels; a {start.kind} that can be "
                f"trained has {has}"
            )
        wanted = latents * start.latent_channels
        if wanted < has:
            raise UsageError(
                f"model {self.model!r} takes a region, its UNet has {has} input channels; set region=true, as without "
                f"it {wanted} are trained"
            )
        return wanted


class InstructPix2PixObjective:
    """The denoising loss under conditions of which some are dropped, and the editor over the weights as they are."""

    def __init__(self, settings: InstructPix2Pix, checkpoint: Checkpoint, kind: str) -> None:
        """`kind` is the kind of the pipeline that `save` writes."""
        self._settings, self._checkpoint, self._kind = settings, checkpoint, kind
        self._dropout = Dropout(settings.text_dropout, settings.image_dropout, settings.both_dropout)
        self._no_text = checkpoint.texts.none()
        self._is_first = True
        self.modules = {"unet": checkpoint.unet}
        names = [f"unet.{name}" for name, _ in checkpoint.unet.named_parameters()]
        rest = [one for one in names if not one.startswith(CONV_IN)]
        if settings.trained == "lora":
            rest = [one for one in rest if PARAMETER in one]
        self.groups = (
            ParameterGroup(
                names=tuple(one for one in names if one.startswith(CONV_IN)),
                learning_rate=settings.conv_in_learning_rate,
            ),
            ParameterGroup(names=tuple(rest)),
        )
        self._trained = frozenset(name for group in self.groups for name in group.names)
        spec = checkpoint.latent_spec(settings.size_px)
        self.latent_spec = spec if settings.use_latents else None
        run_on = settings.run_on
        checkpoint.speed_up(compile_unet=run_on.compile_unet, gradient_checkpointing=run_on.gradient_checkpointing)

    @property
    def editor(self) -> Editor:
        """The editor over the modules as they are, for previews."""
        raise UsageError("this recipe has no previews yet; set run_on.preview_every=0")

    def trained_at(self, step: int) -> frozenset[str]:  # noqa: ARG002  all steps are alike
        """Everything, at every step."""
        return self._trained

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted squared error of noise or velocity over the batch, and `error`, the same without weights."""
        settings, checkpoint = self._settings, self._checkpoint
        schedule, latents = checkpoint.schedule, self._latents(batch)
        target_BChw = latents["target_latent"]
        timestep_B = draws.integers("timestep", schedule.num_timesteps).to(checkpoint.device)
        noise_BChw = draws.normal("noise", target_BChw.shape[1:]).to(checkpoint.device)
        dropped = self._dropout.dropped(draws.uniform("dropout").to(checkpoint.device))
        alpha_B = schedule.alpha(timestep_B)
        texts = self._texts(batch).replaced(dropped.text_B, self._no_text)
        given = [checkpoint.latents.unscaled(latents[name]) for name in latents if name != "target_latent"]
        given_BChw = torch.cat(given, 1).masked_fill(dropped.image_B[:, None, None, None], 0.0)
        noisy_BChw = noised(target_BChw, noise_BChw, alpha_B)
        out_BChw = checkpoint.predict(torch.cat([noisy_BChw, given_BChw], 1), timestep_B, texts)
        wanted_BChw = schedule.target(target_BChw, noise_BChw, timestep_B)
        error_B = (out_BChw - wanted_BChw).square().mean((1, 2, 3))
        weight_B = loss_weights(settings.loss_weights, alpha_B, schedule.prediction, settings.min_snr_gamma)
        return (weight_B * error_B).mean(), {"error": error_B.detach().mean()}

    def save(self, folder: Path) -> None:
        """The checkpoint's parts as an editor's pipeline, with the trained UNet, or the adapters beside it."""
        self._checkpoint.save(folder, self._settings.run_on.save_dtype, self._kind)

    def _latents(self, batch: Batch) -> dict[str, Tensor]:
        """Scaled latents (B, C, h, w) of target, source and, with `region`, region: the batch's, or encoded here."""
        images = {"target_latent": batch["target_image"], "source_latent": batch["source_images"][0]}
        if self._settings.region:
            images["region_latent"] = self._region(batch)
        absent = [name for name in images if name not in batch]
        found = {name: batch[name] for name in images if name in batch}
        if absent:
            encoded = self._checkpoint.latents.encode(torch.cat([images[name] for name in absent]))
            found |= dict(zip(absent, encoded.split(len(batch)), strict=True))
        return {name: found[name] for name in images}

    def _region(self, batch: Batch) -> Tensor:
        """The region as an image (B, 3, H, W): 1 inside, -1 outside. White where the samples have none."""
        image_BCHW: Tensor = batch["target_image"]
        if "region_mask_png" not in batch:
            region_BCHW = torch.ones_like(image_BCHW)
        else:
            region_BCHW = (batch["region_mask_png"] * 2 - 1).expand_as(image_BCHW)
        if self._is_first and bool((region_BCHW == WHITE).all()):
            log.info("the first samples have no region; theirs is white, the whole image")
        self._is_first = False
        return region_BCHW

    def _texts(self, batch: Batch) -> TextEmbeddings:
        """Embeddings of the instructions: those of the dataset where it has all that the model takes."""
        if self._no_text.pooled_BD is None and "instruction_emb" in batch:
            return TextEmbeddings(batch["instruction_emb"])
        if "instruction_emb" in batch and "instruction_pooled_emb" in batch:
            return TextEmbeddings(batch["instruction_emb"], batch["instruction_pooled_emb"])
        return self._checkpoint.texts.encode(batch["instruction"])
