"""Settings of UIP2P, and where each number comes from.

Source  Simsar et al. 2024, UIP2P (arXiv 2412.15216v1). From the paper: the four losses and their weights; the UNet of
InstructPix2Pix; one network for both directions; two timesteps, each uniform; one prediction a pass; CLIP ViT-L/14;
AdamW, 5e-5, 11,000 steps of 768. Chosen, where it does not say: what `cycle` and `losses` state; 256 px and mirrored
images as in InstructPix2Pix; maps of layers of at most 32 x 32 places; dropped samples learn to denoise the source, 5 %
without text, 5 % without both, and 5 % without image but with the reverse instruction, whose result the source is.
Beyond the paper, off by default: `identity_loss` and `clean_cycle_condition`, after Bootstrap Your Generator (Tewel et
al. 2026), which found both to matter.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from trainer.diffusion.settings import EditorRecipe
from trainer.recipes.uip2p.losses import Norm  # noqa: TC001  pydantic reads it


class Uip2pSettings(EditorRecipe):
    """Settings that decide the result. A weight of 0 switches a loss off, to repeat the paper's ablation."""

    reads: ClassVar = ("source_images", "source_caption", "target_caption", "instruction", "reverse_instruction")
    reads_if_present: ClassVar = ("source_latent",)
    sided_texts: ClassVar = ("source_caption", "target_caption", "instruction", "reverse_instruction")

    learning_rate: float = Field(5e-5, gt=0)
    steps: int = Field(11_000, ge=1)
    horizontal_flip: bool = True
    """Mirror half of the samples, but none one of whose texts names a side."""

    lambda_clip: float = Field(1.0, ge=0)
    """Weight of L_CLIP: the image moves in CLIP's space as the captions do."""
    lambda_attn: float = Field(0.5, ge=0)
    """Weight of L_attn: both passes attend to the same places."""
    lambda_sim: float = Field(1.0, ge=0)
    """Weight of L_sim: the edited image fits the caption after the edit."""
    lambda_recon: float = Field(1.0, ge=0)
    """Weight of L_recon: the image that is edited back is the source."""
    norm: Norm = "mean_square"
    """How ||.||_2 of pixels and maps is taken: the mean of squares, or the root of their sum."""
    clip_model: str = "hf:openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41"

    identity_loss: bool = False
    """Also learn that the reverse instruction leaves the source as it is, since what it asks for is there already."""
    lambda_identity: float = Field(0.2, ge=0)
    """Weight of the identity loss."""
    clean_cycle_condition: bool = False
    """Let the reverse pass see an edit made in several steps, with the gradient of the one-step estimate."""
    clean_steps: int = Field(4, ge=1)
    """Steps of that edit, from the noisy latent of the forward pass on."""

    @model_validator(mode="after")
    def _is_not_compiled(self) -> Self:
        if self.run_on.compile_unet:
            raise ValueError(
                "compile_unet does not help this recipe, whose passes differ in shape and in what is recorded: torch "
                "would compile again and again; set run_on.compile_unet=false"
            )
        return self

    def needs_models(self) -> tuple[str, ...]:
        """The checkpoint to start from, and CLIP where a loss needs it."""
        return (self.model, *((self.clip_model,) if self.needs_clip else ()))

    @property
    def needs_clip(self) -> bool:
        """True where a loss compares images or captions in CLIP's space."""
        return bool(self.lambda_clip or self.lambda_sim or self.lambda_recon)

    @property
    def needs_reverse(self) -> bool:
        """True where a loss needs the way back."""
        return bool(self.lambda_attn or self.lambda_recon)

    def loss_weights(self) -> dict[str, float]:
        """Name -> weight of each loss that these settings have."""
        weights = {
            "direction": self.lambda_clip, "attention": self.lambda_attn, "similarity": self.lambda_sim,
            "reconstruction": self.lambda_recon, "identity": self.lambda_identity * self.identity_loss,
            "dropped": float(self.text_dropout + self.image_dropout + self.both_dropout > 0),
        }  # fmt: skip
        return {name: weight for name, weight in weights.items() if weight}
