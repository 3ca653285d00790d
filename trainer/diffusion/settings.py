"""Settings shared by recipes that start from a diffusion checkpoint."""

from __future__ import annotations

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
