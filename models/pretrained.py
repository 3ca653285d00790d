"""Loads checkpoints of transformers: processor and model, in the precision and on the device of a placement."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from models.shared import shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.placement import Placement
    from models.schemes.weights import Weights


def load_pretrained(processor_class: Any, model_class: Any, weights: Weights, placement: Placement) -> tuple[Any, Any]:
    """(processor, model) of a checkpoint, both of transformers' classes.

    The model is in evaluation mode and shared with the other wrappers of the process: nothing may change it.
    """
    arguments = weights.pretrained_arguments()

    def load() -> Any:
        model = model_class.from_pretrained(weights.location, dtype=placement.torch_dtype(), **arguments)
        return model.to(placement.torch_device()).eval()

    with no_progress_bars():
        processor = processor_class.from_pretrained(weights.location, **arguments)
        return processor, shared(weights, placement, model_class, load)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars while it loads weights: a worker has no terminal."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()
