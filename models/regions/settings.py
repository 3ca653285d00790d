"""Settings of region editors, apart from the editor, for trainings that preview with one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings import Settings

AS_TRAINED = "as_trained"
"""Value of the setting `generator` for the model that the head was trained with."""


class RepaintSettings(Settings):
    """How a region is cut and repainted; all settings of an editor over models in memory."""

    num_steps: int = Field(50, ge=1)
    """Steps of the generator."""
    guidance_scale: float = Field(7.5, ge=0)
    """Weight of the target description in the generator; 1 or less is no guidance."""
    threshold: float | None = Field(None, gt=0, lt=1)
    """Probability above which a pixel is in the region; None: that of the training."""
    margin_frac: float = Field(0.03, ge=0, le=1)
    """Margin around the region, as a share of the image's shorter side."""
    when_empty: Literal["whole", "unchanged"] = "whole"
    """What becomes of an image on which the instruction names nothing: it is repainted as a whole, or left."""


class RegionEditorSettings(RepaintSettings):
    """Settings of a region editor that decide its images."""

    generator: str = AS_TRAINED
    """Who repaints the region: the id of any EditSynthesizer, such as `zoo:sd`, or the one of the training."""
    captioner: str | None = None
    """Id of a Captioner that describes the image where a request has no source caption."""
    language_model: str | None = None
    """Id of a TextGenerator that writes the target description where a request has none."""
