"""iEdit: fine-tune Stable Diffusion to denoise a source into its target, weakly supervised by retrieved pairs.

Source  arXiv 2305.05947. From the paper: equations 1 to 12; 384 px, batch size 1, learning rate 2e-4, about 10,000
steps; UNet input and middle layers updated in turn, all else frozen; guidance 7.5 and noise ratios of 0.6 to 0.8 when
editing. Chosen, where it does not say: AdamW without warm-up or average; lambda_perc 0.1; VGG16's relu3_3 for V and
CLIP ViT-B/32 for D_CLIP; input layers are conv_in and the down blocks, updated at even steps, the middle block at odd
ones; t uniform over 1 … T; latents are the posterior's mode. `losses` says how norms and masks are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field

from core.errors import ModelError, UsageError, one_line
from models.placement import Placement
from models.registry import load
from trainer.noise import clean_latent, draw, noisy_latent, target_noise
from trainer.preview import sdedit
from trainer.recipe import Recipe
from trainer.recipes.iedit import losses

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from models.protocols import DifferentiableImageText, PerceptualFeatures
    from trainer.batch import Batch
    from trainer.diffusion import Diffusion

# B rows, C channels, H W pixels, h w cells of a latent, L tokens, D embedding

INPUT = ("conv_in.", "down_blocks.")
MIDDLE = ("mid_block.",)


class IEdit(Recipe):
    """Settings of iEdit; every loss can be switched off, to repeat the paper's ablation."""

    recipe: ClassVar[str] = "iedit"

    size_px: int = Field(384, ge=8)
    learning_rate: float = Field(2e-4, gt=0)
    steps: int = Field(10_000, ge=1)

    latent_loss: Literal["mask", "paired", "ldm", "none"] = "mask"
    """Equation 8, equation 4, equation 1 with the source's noise, or none of them."""
    global_loss: bool = True
    """Equation 5."""
    local_loss: bool = True
    """Equation 11."""
    perceptual_loss: bool = True
    """Equation 10."""
    lambda_perc: float = Field(0.1, ge=0)
    alternate: bool = True
    """Update input and middle layers in turn; off: both at every step."""
    clip_model: str = "hf:openai/clip-vit-base-patch32@c237dc49a33fc61debc9276459120b7eac67e7ef"
    perceptual_model: str = "hf:timm/vgg16.tv_in1k@b8d8aa2dd860af9233c8c67385a8097fd6c35d3f"

    @property
    def needs_masks(self) -> bool:
        """True unless all that is left are the global loss and a latent loss without masks."""
        return self.latent_loss == "mask" or self.local_loss or self.perceptual_loss

    def open(self, diffusion: Diffusion) -> IEditObjective:
        """The objective on `diffusion`'s device, with the frozen networks that its losses need."""
        if diffusion.unet.config.in_channels != diffusion.latent_channels:
            raise UsageError(
                f"model {diffusion.model_id!r} has a UNet of {diffusion.unet.config.in_channels} input channels; "
                f"recipe iedit trains text-to-image models, of {diffusion.latent_channels}"
            )
        if not (self.latent_loss != "none" or self.global_loss or self.local_loss or self.perceptual_loss):
            raise UsageError("recipe iedit has all its losses off; switch one on")
        dtype = str(diffusion.frozen_dtype).removeprefix("torch.")
        placement = Placement(device=str(diffusion.device), dtype=dtype)
        clip = perceptual = None
        try:
            if self.global_loss or self.local_loss:
                clip = load("DifferentiableImageText", self.clip_model, placement)
            if self.perceptual_loss:
                perceptual = load("PerceptualFeatures", self.perceptual_model, placement)
        except (ModelError, OSError, ValueError) as error:
            raise UsageError(one_line(error)) from error
        return IEditObjective(self, diffusion, clip, perceptual)


class IEditObjective:
    """Equation 12 over the UNet's input and middle layers."""

    def __init__(
        self,
        settings: IEdit,
        diffusion: Diffusion,
        clip: DifferentiableImageText | None,
        perceptual: PerceptualFeatures | None,
    ) -> None:
        self._settings, self._diffusion, self._clip, self._perceptual = settings, diffusion, clip, perceptual
        self.parameters = {
            name: parameter for name, parameter in diffusion.unet.named_parameters() if name.startswith(INPUT + MIDDLE)
        }

    def trained_at(self, step: int) -> frozenset[str]:
        """The input layers at even steps, the middle ones at odd steps; both where they do not alternate."""
        wanted = (INPUT, MIDDLE)[step % 2] if self._settings.alternate else INPUT + MIDDLE
        return frozenset(name for name in self.parameters if name.startswith(wanted))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 12, the mean over the batch, and the mean of each loss in it. Images are decoded only if needed."""
        settings, diffusion = self._settings, self._diffusion
        source_BChw, target_BChw = self._latents(batch)
        drawn = draw(settings.seed, batch.number_B, tuple(source_BChw.shape[1:]), diffusion.num_timesteps)
        timestep_B, noise_BChw = (one.to(diffusion.device) for one in drawn)
        alpha_B = diffusion.alpha(timestep_B)
        noisy_BChw = noisy_latent(source_BChw, noise_BChw, alpha_B)
        text_BLD = diffusion.encode_texts(batch.target_captions)
        predicted_BChw = diffusion.predict_noise(noisy_BChw, timestep_B, text_BLD)
        parts: dict[str, Tensor] = {}
        if settings.latent_loss != "none":
            wanted_BChw = target_noise(noisy_BChw, target_BChw, alpha_B)
            parts["latent_B"] = self._latent_loss(batch, noise_BChw, wanted_BChw, predicted_BChw)
        if self._clip or self._perceptual:
            edited_BCHW = diffusion.decode(clean_latent(noisy_BChw, predicted_BChw, alpha_B)) / 2 + 0.5
            parts |= self._image_losses(batch, edited_BCHW)
        time_frac_B = (timestep_B + 1) / diffusion.num_timesteps
        total_B = losses.weighted_sum(time_frac_B, lambda_perc=settings.lambda_perc, **parts)
        return total_B.mean(), {name.removesuffix("_B"): part_B.detach().mean() for name, part_B in parts.items()}

    def edit(self, batch: Batch) -> list[Image]:
        """SDEdit, as the paper edits without masks."""
        return sdedit(self._diffusion, batch, self._settings)

    def pipeline(self) -> Any:
        """The checkpoint's own pipeline with the trained UNet."""
        return self._diffusion.trained_pipeline()

    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if batch.source_latent_BChw is not None and batch.target_latent_BChw is not None:
            return batch.source_latent_BChw, batch.target_latent_BChw
        both = self._diffusion.encode(torch.cat([batch.source_BCHW, batch.target_BCHW]))
        return both[: len(batch)], both[len(batch) :]

    def _latent_loss(self, batch: Batch, noise_BChw: Tensor, wanted_BChw: Tensor, predicted_BChw: Tensor) -> Tensor:
        if self._settings.latent_loss == "paired":
            return losses.paired_loss(wanted_BChw, predicted_BChw)
        if self._settings.latent_loss == "ldm":
            return losses.ldm_loss(noise_BChw, predicted_BChw)
        assert batch.source_mask_B1hw is not None
        assert batch.target_mask_B1hw is not None
        return losses.mask_loss(noise_BChw, wanted_BChw, predicted_BChw, batch.source_mask_B1hw, batch.target_mask_B1hw)

    def _image_losses(self, batch: Batch, edited_BCHW: Tensor) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        if self._clip and self._settings.global_loss:
            parts["global_B"] = losses.global_loss(self._clip, edited_BCHW, batch.target_captions)
        source_mask, target_mask = batch.source_mask_B1HW, batch.target_mask_B1HW
        if self._clip and self._settings.local_loss:
            assert source_mask is not None
            parts["local_B"] = losses.local_loss(self._clip, edited_BCHW, source_mask, batch.target_phrases)
        if self._perceptual:
            assert source_mask is not None
            assert target_mask is not None
            target_BCHW = batch.target_BCHW / 2 + 0.5
            parts["perceptual_B"] = losses.perceptual_loss(
                self._perceptual, edited_BCHW, target_BCHW, source_mask, target_mask
            )
        return parts
