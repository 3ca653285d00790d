"""Settings of the recipe `regions`, and where each number comes from.

Source  Beyond Editing Pairs (arXiv 2505.19352). From the paper's figure: frozen CLIP and generator; cross-attention,
self-attention, a semantic head and an MLP for each patch; the semantic losses of the original and of the edited
features; the global, the direction and the structure loss through CLIP; a mask by a threshold. It gives no weights,
rates, sizes or steps. Chosen: all numbers here, the noise on the region, and the cache of generated images. ADR-0013
has the list and the evidence.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads it
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from models.regions.settings import RepaintSettings
from trainer.recipe import Recipe
from trainer.settings import TrainRunOn


class RegionsRunOn(TrainRunOn):
    """Settings of speed, and those of the editor of previews."""

    cache: Path | None = Field(None, strict=False)
    """Folder of generated images, which trainings may share; None: `generated` in the folder of the training."""
    generator_batch_size: int = Field(16, ge=1)
    """Images that the generator makes at once."""
    preview: RepaintSettings = RepaintSettings()
    """Settings of the editor of previews, whose generator is that of the training."""

    @field_validator("cache")
    @classmethod
    def _expanded(cls, cache: Path | None) -> Path | None:
        return None if cache is None else cache.expanduser()


class RegionsSettings(Recipe):
    """Settings that decide the result. A weight of 0 switches a loss off, to repeat the paper's ablation."""

    reads: ClassVar = ("source_images", "source_caption", "target_caption", "instruction")
    sided_texts: ClassVar = ("source_caption", "target_caption", "instruction")

    model: str | None = None
    """A region head to start from, `path:…`; None: a new one."""
    clip_model: str = "hf:openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41"
    """The CLIP whose tokens the head reads and whose space the losses are in."""
    patch_layer: int = Field(-1, le=-1)
    """The layer of CLIP's image tower that patches are taken from, counted from the last, -1."""
    generator: str = "hf:diffusers/stable-diffusion-xl-1.0-inpainting-0.1@115134f363124c53c7d878647567d04daf26e41e"
    """The EditSynthesizer that makes edited images for the losses through CLIP."""
    generator_steps: int = Field(20, ge=1)
    generator_guidance_scale: float = Field(7.5, ge=0)
    generated: Literal["box", "whole"] = "box"
    """What is generated: the smallest box of cells around the region and a patch more, or the whole image."""
    box_cells: int = Field(4, ge=1)
    """Rows and columns of the cells that boxes are made of: fewer cells are fewer different boxes to generate."""
    num_seeds: int = Field(1, ge=1)
    """Generated images for each image and box, of which each step takes one."""

    size_px: int = Field(512, ge=8)
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    steps: int = Field(10_000, ge=1)
    horizontal_flip: bool = False
    """Mirror half of the samples, but none one of whose texts names a side; each mirrored image is generated anew."""

    num_heads: int = Field(8, ge=1)
    """Heads of attention; they divide the width of CLIP's space."""
    hidden: int = Field(256, ge=1)
    """Width of the MLP that gives the probability of a patch."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Probability above which a pixel is in the region."""
    noise_scale: float = Field(1.0, ge=0)
    """Logistic noise on the logits of patches before the threshold, so that the losses see many masks; 0: none."""

    lambda_original: float = Field(0.2, ge=0)
    """Weight of L_semOriginal: patches, as texts, say the original description."""
    lambda_edited: float = Field(0.2, ge=0)
    """Weight of L_semEdited: patches that have seen the instruction say the target description."""
    lambda_global: float = Field(1.0, ge=0)
    """Weight of L_CLIPg: the composed image fits the target description."""
    lambda_direction: float = Field(1.0, ge=0)
    """Weight of L_CLIPd: the image moves in CLIP's space as the descriptions do."""
    lambda_structure: float = Field(15.0, ge=0)
    """Weight of L_CLIPs: patches of the composed image resemble each other as those of the source do."""

    run_on: RegionsRunOn = RegionsRunOn()

    def needs_models(self) -> tuple[str, ...]:
        """CLIP, the head to start from, and the generator where a loss needs it; previews may need it too."""
        head = () if self.model is None else (self.model,)
        return (*head, self.clip_model, *((self.generator,) if self.needs_generator else ()))

    @property
    def uses_generator(self) -> bool:
        """True where a loss or a preview needs the generator."""
        return self.needs_generator or self.run_on.preview_every > 0

    @property
    def needs_generator(self) -> bool:
        """True where a loss compares composed images."""
        return bool(self.lambda_global or self.lambda_direction or self.lambda_structure)
