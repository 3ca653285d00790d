"""UIP2P: trains an instruction editor without target images, by an edit and its way back.

A sample is an image, its caption, an instruction, the caption after the edit, and the instruction that undoes it. The
edited image should move in CLIP's space as the captions do. Edited back, it should be the source again, and both passes
should attend to the same places.

Source  Simsar et al. 2024, UIP2P (arXiv 2412.15216v1); `settings` says what is from the paper and what is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from core.errors import UsageError
from trainer.diffusion.editors import open_editor
from trainer.recipes.uip2p.objective import Uip2pObjective
from trainer.recipes.uip2p.settings import Uip2pSettings

if TYPE_CHECKING:
    from trainer.recipe import TrainContext


class Uip2p(Uip2pSettings):
    """Settings of UIP2P. It starts from a text-to-image model or an editor without region."""

    recipe: ClassVar[str] = "uip2p"

    def open(self, ctx: TrainContext) -> Uip2pObjective:
        """The objective on the training's device.

        Raises UsageError for a model of another kind or width, for a schedule whose clean latents have no estimate, and
        for a size at which no attention can be compared, and where all losses are off.
        """
        if not (self.needs_clip or self.needs_reverse):
            raise UsageError("recipe uip2p has all its losses off; set one of lambda_clip, lambda_attn … above 0")
        opened = open_editor(self, ctx)
        schedule = opened.checkpoint.schedule
        if schedule.prediction == "epsilon" and not bool((schedule.alpha_T > 0).all()):
            raise UsageError(f"model {self.model!r} predicts noise and has a timestep of pure noise; name another")
        clip = ctx.load("DifferentiableImageText", self.clip_model) if self.needs_clip else None
        return Uip2pObjective(self, opened, clip)
