"""Loads the models of this package: the same as the registry, with errors that a user can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from models import registry

if TYPE_CHECKING:
    from models.placement import Placement


def load_model(protocol: str, model_id: str, placement: Placement | None, **settings: Any) -> Any:
    """The model, whatever is wrong with it an EvaluationError of one line; ModelError where it is not there."""
    _quieten(protocol)
    try:
        return registry.load(protocol, model_id, placement, **settings)
    except (ValueError, TypeError, OSError, RuntimeError, AssertionError) as error:  # the last two: devices not there
        raise EvaluationError(f"model {model_id!r} cannot be used: {' '.join(str(error).split())[:300]}") from error


def _quieten(protocol: str) -> None:
    """No bars of the libraries for each part of each checkpoint: a benchmark loads several models and has its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    if protocol == "Editor":
        from diffusers.utils import logging as of_diffusers

        of_diffusers.disable_progress_bar()
