"""Loads the CLIP whose tokens a region head was trained over, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ModelError
from models import registry

if TYPE_CHECKING:
    from models.loss_protocols import ImageTextTokens
    from models.placement import Placement
    from models.regions.head_file import RegionConfig


def load_tokens(config: RegionConfig, placement: Placement) -> ImageTextTokens:
    """The CLIP that a head was trained over. Raises ModelError for one that is absent, or of other content."""
    found = registry.revision(config.clip_model)
    if found != config.clip_revision:
        raise ModelError(
            f"the region head was trained over {config.clip_model} at {config.clip_revision}, here it is {found}; "
            "train the head again, or bring back that model"
        )
    tokens: ImageTextTokens = registry.load(
        "ImageTextTokens", config.clip_model, placement, patch_layer=config.patch_layer
    )
    return tokens
