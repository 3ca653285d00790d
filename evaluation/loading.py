"""Loads models for evaluation. Whatever prevents its use is a ModelError of one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models import registry

if TYPE_CHECKING:
    from models.placement import Placement


def load_model(protocol: str, model_id: str, placement: Placement | None = None, **settings: Any) -> Any:
    """The model behind `model_id`. Raises ModelError when it is not there, cannot serve or cannot be placed."""
    _hide_progress_bars(protocol)
    try:
        return registry.load(protocol, model_id, placement, **settings)
    except (ValueError, OSError, RuntimeError, AssertionError) as error:  # torch raises the last two for devices
        raise ModelError(f"model {model_id!r} cannot be used: {' '.join(str(error).split())[:300]}") from error


def _hide_progress_bars(protocol: str) -> None:
    """Hide the libraries' bars for each part of each checkpoint."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    if protocol == "Editor":
        from diffusers.utils import logging as of_diffusers  # imported late: it takes seconds

        of_diffusers.disable_progress_bar()
