"""Settings shared by recipes that start from a diffusion checkpoint, and by those of them that train an editor."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from models.diffusion.pix2pix_settings import InstructPix2PixSettings
from trainer.recipe import Recipe
from trainer.settings import TrainRunOn


class DiffusionRunOn(TrainRunOn):
    """Settings of speed and memory that a UNet has in addition to those of every training."""

    compile_unet: bool = False
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them: less memory, more time."""


class DiffusionRecipe(Recipe):
    """A recipe that starts from a checkpoint of diffusers."""

    model: str
    """Diffusion checkpoint to start from: `zoo:sd`, `path:…`, `hf:…@<commit>`."""
    use_latents: bool = True
    """Take latents from the dataset where they are of this model and size, and images are not mirrored."""

    run_on: DiffusionRunOn = DiffusionRunOn()

    def needs_models(self) -> tuple[str, ...]:
        """The checkpoint to start from."""
        return (self.model,)


class EditorRunOn(DiffusionRunOn):
    """Settings of speed, and those of the editor of previews."""

    preview: InstructPix2PixSettings = InstructPix2PixSettings()
    """Settings of the editor of previews; its `size_px` is that of the training where it is None."""


class EditorRecipe(DiffusionRecipe):
    """A recipe whose UNet takes the source image beside the noisy one, and learns to do without some conditions."""

    size_px: int = Field(256, ge=8)

    text_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose their text alone."""
    image_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose their images alone: the source, and the region where the recipe has one."""
    both_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose text and images."""
    trained: Literal["unet", "lora"] = "unet"
    """The whole UNet, or its first convolution and low-rank adapters of its attention layers."""
    lora_rank: int = Field(64, ge=1)
    conv_in_learning_rate: float | None = Field(None, gt=0)
    """Learning rate of the first convolution, whose new channels start at zero; None: that of the rest."""

    run_on: EditorRunOn = EditorRunOn()

    @model_validator(mode="after")
    def _shares_leave_something(self) -> Self:
        total = self.text_dropout + self.image_dropout + self.both_dropout
        if total > 1:
            raise ValueError(f"text_dropout, image_dropout and both_dropout add up to {total:g}; expected at most 1")
        return self

    def preview_settings(self) -> InstructPix2PixSettings:
        """Settings of the editor of previews, at the size of the training unless they state another."""
        preview = self.run_on.preview
        return preview.model_copy(update={"size_px": preview.size_px or self.size_px})
