"""Settings of InstructGIE, and where each number comes from.

Source  Meng et al. 2024, InstructGIE (ECCV 2024). From the paper: Stable Diffusion 1.5 with a ControlNet whose hint
encoder and zero layers are made of VMamba blocks; grids of an example, a query and a grey cell; a loss on the shift of
CLIP's image embeddings; a loss within selective areas; unified instructions. It gives no weights, rates, sizes or
steps. Chosen: all numbers here; how each loss is taken (`losses`); AdamW, 1e-4, 10,000 steps and text and example
dropped by 5 % each way, as Prompt Diffusion (Wang et al. 2023) and InstructPix2Pix have them. ADR-0011 has the list.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.diffusion.visual_prompt.control_net import ControlParts
from models.diffusion.visual_prompt.kinds import HintEncoderKind, ZeroLayerKind  # noqa: TC001  pydantic reads them
from models.diffusion.visual_prompt.settings import AS_TRAINED, NONE, RULES, VisualPromptSettings
from trainer.diffusion.loss_weights import LossWeights  # noqa: TC001  pydantic reads it
from trainer.diffusion.settings import DiffusionRecipe, DiffusionRunOn

EXAMPLES = ("example_source_images", "example_target_images")
"""Columns with the images of a sample's examples, of which each step sees one pair."""


class PreviewSettings(VisualPromptSettings):
    """Settings of an editor of previews, which loads no language model."""

    unifier: Literal["as_trained", "rules", "none"] = "as_trained"
    """Who puts instructions into canonical words first: `rules`, `none`, or `as_trained`: rules where the training
    reads unified instructions, else none. Previews load no language model."""


class InstructGieRunOn(DiffusionRunOn):
    """Settings of speed, and those of the editor of previews."""

    preview: PreviewSettings = PreviewSettings()
    """Settings of the editor of previews; its `size_px` is that of the training where it is None."""


class InstructGieSettings(DiffusionRecipe):
    """Settings that decide the result. Each of the paper's four parts can be switched off, to repeat its ablation."""

    reads: ClassVar = ("source_images", "target_image", "instruction", *EXAMPLES)
    reads_if_present: ClassVar = ("unified_instruction", "instruction_unifier", "selective_mask_png")
    one_of: ClassVar = EXAMPLES
    filled: ClassVar = {"selective_mask_png": 0.0}
    sided_texts: ClassVar = ("instruction",)

    size_px: int = Field(256, ge=8)
    """Side of one image; the grid is twice as wide and as high."""
    learning_rate: float = Field(1e-4, gt=0)
    steps: int = Field(10_000, ge=1)
    horizontal_flip: bool = True
    """Mirror half of the samples with their examples, but none whose instruction names a side."""
    use_latents: bool = False
    """Grids are encoded as a whole, so latents of a dataset's images cannot be used."""

    hint_encoder: HintEncoderKind = "vmamba"
    """What encodes the grid for the control network (reformed conditioned latent diffusion); `conv`: ControlNet's."""
    zero_layers: ZeroLayerKind = "vmamba"
    """What hands the control network's features on to the UNet; `conv`: ControlNet's zero convolutions."""
    hint_width: int = Field(96, ge=8)
    """Channels of the first blocks of a hint encoder that is not `conv`; an even number for `vit`."""
    hint_depth: int = Field(2, ge=1)
    """Blocks of such an encoder at each resolution."""
    trained: Literal["control", "decoder", "unet"] = "control"
    """What is trained: the control network alone, the UNet's second half with it, or the whole UNet with it."""
    unet_learning_rate: float | None = Field(None, gt=0)
    """Learning rate of the UNet's part; None: that of the control network."""

    unified: bool = True
    """Read the column unified_instruction (language instruction unification) in the place of instruction."""
    unifier: str = RULES
    """Who puts instructions into canonical words when the result edits: `rules`, or the id of the TextGenerator that
    the stage unify_instruction used, which has to be on this machine."""

    loss_weights: LossWeights = "plain"
    """How errors at each noise level count: all alike, by min-SNR, or as the squared error of the clean latent."""
    min_snr_gamma: float = Field(5.0, gt=0)
    lambda_shift: float = Field(0.1, ge=0)
    """Weight of L_es: the edit moves the image in CLIP's space as the true edit does (editing-shift matching)."""
    lambda_selective: float = Field(1.0, ge=0)
    """Weight of L_sam: the clean latent is right where the target has details that matter (selective-area matching)."""
    clip_model: str = "hf:openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41"

    text_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose their text alone."""
    example_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose their example alone: its cells are grey."""
    both_dropout: float = Field(0.05, ge=0, le=1)
    """Share of samples that lose text and example."""

    run_on: InstructGieRunOn = InstructGieRunOn()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        total = self.text_dropout + self.example_dropout + self.both_dropout
        if total > 1:
            raise ValueError(f"text_dropout, example_dropout and both_dropout add up to {total:g}; expected at most 1")
        if self.use_latents:
            raise ValueError("use_latents is true, but a grid is encoded as a whole; leave it out")
        if self.unifier in (AS_TRAINED, NONE):
            raise ValueError(f"unifier is {self.unifier!r}; expected rules or a model id, or set unified=false")
        if self.trained == "control" and self.unet_learning_rate is not None:
            raise ValueError('unet_learning_rate is set, but the UNet is not trained; set trained="decoder" or "unet"')
        if self.run_on.compile_unet:
            raise ValueError("compile_unet does not help a UNet that is given residuals; set run_on.compile_unet=false")
        if self.hint_encoder == "vit" and self.hint_width % 2:
            raise ValueError(f"hint_width is {self.hint_width}; hint_encoder 'vit' needs an even number")
        return self

    def needs_columns(self) -> tuple[str, ...]:
        """The unified instruction, where it is read."""
        return ("unified_instruction",) if self.unified else ()

    def needs_models(self) -> tuple[str, ...]:
        """The checkpoint to start from, and CLIP where the shift is compared."""
        return (self.model, *((self.clip_model,) if self.lambda_shift else ()))

    @property
    def text_column(self) -> str:
        """The column that the text encoder reads."""
        return "unified_instruction" if self.unified else "instruction"

    @property
    def parts(self) -> ControlParts:
        """What the control network is made of."""
        return ControlParts(self.hint_encoder, self.zero_layers, self.hint_width, self.hint_depth)

    @property
    def uses_clean_latent(self) -> bool:
        """True where a loss needs the estimate of the clean latent."""
        return bool(self.lambda_shift or self.lambda_selective)

    @property
    def are_previews_unified(self) -> bool:
        """True where previews put instructions into canonical words, by rules."""
        named = self.run_on.preview.unifier
        return self.unified if named == AS_TRAINED else named == RULES

    def preview_settings(self) -> VisualPromptSettings:
        """Settings of the editor of previews, at the size of the training unless they state another."""
        preview = self.run_on.preview
        return preview.model_copy(update={"size_px": preview.size_px or self.size_px})
