"""Settings of visual-prompt editors, apart from the editor, for trainings that preview with one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings import Settings

AS_TRAINED, RULES, NONE = "as_trained", "rules", "none"
"""Values of the setting `unifier` that name no model."""


class VisualPromptSettings(Settings):
    """Settings of a visual-prompt editor that decide its images."""

    num_steps: int = Field(50, ge=1)
    """Steps from pure noise to an image."""
    guidance_scale: float = Field(9.0, ge=0)
    """Weight of the instruction; with 1 or less there is no guidance, by text or by example."""
    example_guidance_scale: float = Field(1.0, ge=1)
    """Weight of the examples beside that of the query; at 1 there is none, and less time is taken."""
    control_scale: float = Field(1.0, ge=0)
    """Factor of what the control network adds to the UNet."""
    size_px: int | None = Field(None, ge=1)
    """Longer side at which images are edited, each a cell of the grid; None: that of the training."""
    unifier: str = AS_TRAINED
    """Who puts instructions into canonical words first: `as_trained`, `rules`, `none`, or the id of a TextGenerator."""
    scheduler: Literal["checkpoint", "ddim"] = "ddim"
    """Sampler: DDIM with the checkpoint's noise schedule, or the checkpoint's own."""
