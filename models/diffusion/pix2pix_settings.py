"""Settings of instruction editors, apart from the editors, for trainings that preview with one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings import Settings


class InstructPix2PixSettings(Settings):
    """Settings of InstructPix2Pix that decide its images."""

    num_steps: int = Field(50, ge=1)
    """Steps from pure noise to an image."""
    guidance_scale: float = Field(7.5, ge=0)
    """Weight of the instruction; with 1 or less there is no guidance, by text or image."""
    image_guidance_scale: float = Field(1.5, ge=1)
    """Weight of the source image: the higher, the more of it is kept; at 1 there is none, and less time is taken."""
    size_px: int | None = Field(None, ge=1)
    """Longer side at which images are edited; None: the side that the network was made for."""
    scheduler: Literal["checkpoint", "ddim", "euler_ancestral"] = "checkpoint"
    """Sampler: the checkpoint's own, or another with the checkpoint's noise schedule."""
