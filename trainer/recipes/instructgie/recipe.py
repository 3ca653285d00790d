"""InstructGIE: trains a control network that draws an edit into a grid, from an instruction and an example of it.

A sample is a pair of images with its instruction, and pairs that follow the same instruction, of which each step shows
one. The network sees a grid of the example and the source, and learns to draw the whole grid with the edited image.

Source  Meng et al. 2024, InstructGIE (ECCV 2024); `settings` says what is from the paper and what is chosen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import MissingDependencyError, UsageError
from core.missing import refusal
from models.diffusion.editor_kinds import CONTROL_FOLDER, VISUAL_PROMPT
from models.diffusion.visual_prompt.control_net import load_control_net, make_control_net, read_parts
from models.diffusion.visual_prompt.settings import RULES
from models.registry import cannot_serve, missing
from trainer.diffusion.checkpoint import TEXT_TO_IMAGE, Checkpoint
from trainer.diffusion.start import read_start
from trainer.recipes.instructgie.objective import InstructGieObjective, Networks
from trainer.recipes.instructgie.settings import InstructGieSettings

if TYPE_CHECKING:
    from trainer.diffusion.start import Start
    from trainer.recipe import TrainContext

KINDS = (TEXT_TO_IMAGE, VISUAL_PROMPT)
TEXT_GENERATOR = "TextGenerator"
MAX_FACTOR = 8
"""Largest factor of an autoencoder that ControlNet's own encoder is made for."""


class InstructGie(InstructGieSettings):
    """Settings of InstructGIE. It starts from a text-to-image model of Stable Diffusion 1 or 2, or from a result."""

    recipe: ClassVar[str] = "instructgie"

    def open(self, ctx: TrainContext) -> InstructGieObjective:
        """The objective on the training's device.

        Raises UsageError for a model of another kind, for a grid that it cannot halve, for a schedule whose clean
        latents have no estimate, for a result with other parts than these settings name, and for a unifier that is no
        TextGenerator; ModelError for one that is not on this machine.
        """
        self._check_unifier()
        start = read_start(self.model, KINDS)
        self._check(start)
        checkpoint = Checkpoint(self.model, ctx, KINDS)
        schedule = checkpoint.schedule
        if self.uses_clean_latent and schedule.prediction == "epsilon" and not bool((schedule.alpha_T > 0).all()):
            raise UsageError(f"model {self.model!r} predicts noise and has a timestep of pure noise; name another")
        net = self._control_net(start, checkpoint.unet).to(ctx.device)
        clip = ctx.load("DifferentiableImageText", self.clip_model) if self.lambda_shift else None
        return InstructGieObjective(self, Networks(checkpoint, net, clip, ctx.autocast))

    def _check_unifier(self) -> None:
        """Raise ModelError or UsageError for a model id with which the result could not be loaded."""
        if not self.unified or self.unifier == RULES:
            return
        if lacking := missing(self.unifier, TEXT_GENERATOR):
            raise MissingDependencyError(f"unifier: {refusal([('', one) for one in lacking])}")
        if clause := cannot_serve(TEXT_GENERATOR, self.unifier):
            raise UsageError(f"unifier {self.unifier!r} {clause}; name another model, or rules")

    def _check(self, start: Start) -> None:
        """Raise UsageError for a model that cannot be trained so."""
        if start.in_channels != start.latent_channels:
            raise UsageError(
                f"model {self.model!r} has a UNet of {start.in_channels} input channels; a text-to-image model has "
                f"{start.latent_channels}"
            )
        if start.latent_factor > MAX_FACTOR:
            raise UsageError(
                f"model {self.model!r} has {start.latent_factor} pixels to a cell of its latents; this recipe takes at "
                f"most {MAX_FACTOR}"
            )
        unit = max(start.latent_factor, start.latent_factor * 2**start.num_halvings // 2)
        if self.size_px % unit:
            raise UsageError(f"size_px is {self.size_px}; for grids of two by two, model {self.model!r} needs a "
                             f"multiple of {unit}")  # fmt: skip
        if self.aspect_buckets:
            raise UsageError("recipe instructgie has grids of squares; set aspect_buckets=false")

    def _control_net(self, start: Start, unet: Any) -> Any:
        """A new control network over the UNet, or that of the result to start from, in float32."""
        import torch

        if start.kind != VISUAL_PROMPT:
            return make_control_net(unet, start.latent_factor, self.parts)
        folder = Path(start.weights.location) / CONTROL_FOLDER
        parts, _, _ = read_parts(folder)
        if parts.compared() != self.parts.compared():
            raise UsageError(f"model {self.model!r} has a control network of {parts}; the settings name {self.parts}")
        return load_control_net(folder, torch.float32)
