"""iEdit: fine-tune Stable Diffusion to denoise a source into its target, weakly supervised by retrieved pairs.

Source  arXiv 2305.05947. From the paper: equations 1 to 12; 384 px, batch size 1, learning rate 2e-4, about 10,000
steps; UNet input and middle layers updated in turn, all else frozen; guidance 7.5 and noise ratios of 0.6 to 0.8 when
editing. Chosen, where it does not say: AdamW without warm-up or average; lambda_perc 0.1; VGG16's relu3_3 for V and
CLIP ViT-B/32 for D_CLIP; input layers are conv_in and the down blocks, updated at even steps, the middle block at odd
ones; t uniform over 1 … T; latents are the posterior's mode. `losses` says how norms and masks are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from core.errors import UsageError
from models.diffusion.sdedit import SdEdit, SdEditSettings
from trainer.diffusion.checkpoint import TEXT_TO_IMAGE, Checkpoint
from trainer.diffusion.latents import cells_inside
from trainer.diffusion.schedule import clean_latent, noised
from trainer.diffusion.settings import DiffusionRecipe, DiffusionRunOn
from trainer.diffusion.start import read_start
from trainer.recipe import ParameterGroup
from trainer.recipes.iedit import losses
from trainer.recipes.iedit.noise import check_schedule, draw_timestep_and_noise, target_noise

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.loss_protocols import DifferentiableImageText, PerceptualFeatures
    from trainer.batch import Batch
    from trainer.draws import Draws
    from trainer.recipe import TrainContext

# B rows, C channels, H W pixels, h w cells of a latent, L tokens, D embedding

INPUT = ("unet.conv_in.", "unet.down_blocks.")
MIDDLE = ("unet.mid_block.",)
LATENTS = ("source_latent", "target_latent")
MASKS = ("source_mask_png", "target_mask_png")


class IEditRunOn(DiffusionRunOn):
    """Settings of speed, and those of the editor of previews."""

    preview: SdEditSettings = SdEditSettings()
    """Settings of SDEdit, which edits the previews; its `size_px` is that of the training where it is None."""

    @model_validator(mode="after")
    def _previews_are_edited(self) -> Self:
        steps, ratio = self.preview.num_steps, self.preview.sampling_ratio
        if self.preview_every and int(steps * ratio) < 1:
            raise ValueError(f"preview.num_steps {steps} x preview.sampling_ratio {ratio} is less than one step")
        return self


class IEdit(DiffusionRecipe):
    """Settings of iEdit. Every loss can be switched off, to repeat the paper's ablation."""

    recipe: ClassVar[str] = "iedit"
    reads: ClassVar = ("source_images", "target_image", "target_caption")
    reads_if_present: ClassVar = ("target_phrase", *MASKS, "source_latent", "target_latent")

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

    run_on: IEditRunOn = IEditRunOn()

    def needs_columns(self) -> tuple[str, ...]:
        """The masks, unless all that is left are the global loss and a latent loss without masks."""
        return MASKS if self.latent_loss == "mask" or self.local_loss or self.perceptual_loss else ()

    def needs_models(self) -> tuple[str, ...]:
        """The checkpoint to start from, and the networks of the losses that are on."""
        clip = (self.clip_model,) if self.global_loss or self.local_loss else ()
        perceptual = (self.perceptual_model,) if self.perceptual_loss else ()
        return (self.model, *clip, *perceptual)

    def open(self, ctx: TrainContext) -> IEditObjective:
        """The objective on the training's device, with the frozen networks that its losses need."""
        if not (self.latent_loss != "none" or self.global_loss or self.local_loss or self.perceptual_loss):
            raise UsageError("recipe iedit has all its losses off; switch one on")
        start = read_start(self.model, (TEXT_TO_IMAGE,))
        if start.in_channels != start.latent_channels:
            raise UsageError(
                f"model {self.model!r} has a UNet of {start.in_channels} input channels; recipe iedit trains "
                f"text-to-image models, of {start.latent_channels}"
            )
        start.check_size(self.size_px, aspect_buckets=self.aspect_buckets)
        checkpoint = Checkpoint(self.model, ctx)
        check_schedule(checkpoint.schedule, self.model)
        clip = perceptual = None
        if self.global_loss or self.local_loss:
            clip = ctx.load("DifferentiableImageText", self.clip_model)
        if self.perceptual_loss:
            perceptual = ctx.load("PerceptualFeatures", self.perceptual_model)
        return IEditObjective(self, checkpoint, clip, perceptual)


class IEditObjective:
    """The losses, what is trained at each step, and SDEdit, by which the paper edits, for previews."""

    def __init__(
        self,
        settings: IEdit,
        checkpoint: Checkpoint,
        clip: DifferentiableImageText | None,
        perceptual: PerceptualFeatures | None,
    ) -> None:
        self._settings, self._checkpoint, self._clip, self._perceptual = settings, checkpoint, clip, perceptual
        self.modules = {"unet": checkpoint.unet}
        names = (f"unet.{name}" for name, _ in checkpoint.unet.named_parameters())
        self.groups = (ParameterGroup(names=tuple(name for name in names if name.startswith(INPUT + MIDDLE))),)
        spec = checkpoint.latent_spec(settings.size_px, aspect_buckets=settings.aspect_buckets)
        self.arrays = (spec,) if settings.use_latents else ()
        run_on = settings.run_on
        size_px = run_on.preview.size_px or settings.size_px
        preview = run_on.preview.model_copy(update={"size_px": size_px})
        self.editor = SdEdit.over(checkpoint.pipeline, preview, batch_size=run_on.preview_samples)
        checkpoint.speed_up(compile_unet=run_on.compile_unet, gradient_checkpointing=run_on.gradient_checkpointing)

    def trained_at(self, step: int) -> frozenset[str]:
        """The input layers at even steps, the middle ones at odd steps, or both where they do not alternate."""
        wanted = (INPUT, MIDDLE)[step % 2] if self._settings.alternate else INPUT + MIDDLE
        return frozenset(name for name in self.groups[0].names if name.startswith(wanted))

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 12 over the batch, and the mean of each loss. Images are decoded only if needed."""
        settings, checkpoint = self._settings, self._checkpoint
        schedule = checkpoint.schedule
        source_BChw, target_BChw = self._latents(batch)
        drawn = draw_timestep_and_noise(draws, tuple(source_BChw.shape[1:]), schedule.num_timesteps)
        timestep_B, noise_BChw = (one.to(checkpoint.device) for one in drawn)
        alpha_B = schedule.alpha(timestep_B)
        noisy_BChw = noised(source_BChw, noise_BChw, alpha_B)
        texts = checkpoint.encode_texts(batch["target_caption"])
        predicted_BChw = checkpoint.predict_noise(noisy_BChw, timestep_B, texts)
        parts: dict[str, Tensor] = {}
        if settings.latent_loss != "none":
            wanted_BChw = target_noise(noisy_BChw, target_BChw, alpha_B)
            parts["latent_B"] = self._latent_loss(batch, noise_BChw, wanted_BChw, predicted_BChw)
        if self._clip or self._perceptual:
            edited_BCHW = checkpoint.latents.decode(clean_latent(noisy_BChw, predicted_BChw, alpha_B)) / 2 + 0.5
            parts |= self._image_losses(batch, edited_BCHW)
        time_frac_B = (timestep_B + 1) / schedule.num_timesteps
        total_B = losses.weighted_sum(time_frac_B, lambda_perc=settings.lambda_perc, **parts)
        return total_B.mean(), {name.removesuffix("_B"): part_B.detach().mean() for name, part_B in parts.items()}

    def save(self, folder: Path) -> None:
        """The checkpoint's own pipeline with the trained UNet."""
        self._checkpoint.save(folder, self._settings.run_on.save_dtype)

    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        encode, images = self._checkpoint.latents.encode, (batch["source_images"][0], batch["target_image"])
        if all(len(batch.rows_without(name)) == len(batch) for name in LATENTS):
            both = encode(torch.cat(images))
            return both[: len(batch)], both[len(batch) :]
        source_BChw, target_BChw = (
            batch.completed(name, lambda rows, image_BCHW=image_BCHW: encode(image_BCHW[rows]))  # type: ignore[misc]
            for name, image_BCHW in zip(LATENTS, images, strict=True)
        )
        return source_BChw, target_BChw

    def _latent_loss(self, batch: Batch, noise_BChw: Tensor, wanted_BChw: Tensor, predicted_BChw: Tensor) -> Tensor:
        if self._settings.latent_loss == "paired":
            return losses.paired_loss(wanted_BChw, predicted_BChw)
        if self._settings.latent_loss == "ldm":
            return losses.ldm_loss(noise_BChw, predicted_BChw)
        source_mask, target_mask = (
            cells_inside(batch[name], noise_BChw) for name in ("source_mask_png", "target_mask_png")
        )
        return losses.mask_loss(noise_BChw, wanted_BChw, predicted_BChw, source_mask, target_mask)

    def _image_losses(self, batch: Batch, edited_BCHW: Tensor) -> dict[str, Tensor]:
        parts: dict[str, Any] = {}
        if self._clip and self._settings.global_loss:
            parts["global_B"] = losses.global_loss(self._clip, edited_BCHW, batch["target_caption"])
        if self._clip and self._settings.local_loss:
            parts["local_B"] = losses.local_loss(
                self._clip, edited_BCHW, batch["source_mask_png"], batch["target_phrase"]
            )
        if self._perceptual:
            target_BCHW = batch["target_image"] / 2 + 0.5
            parts["perceptual_B"] = losses.perceptual_loss(
                self._perceptual, edited_BCHW, target_BCHW, batch["source_mask_png"], batch["target_mask_png"]
            )
        return parts
