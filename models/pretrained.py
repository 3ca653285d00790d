"""Loads checkpoints of transformers: processor and model, in the precision and on the device of a placement."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.placement import Placement
    from models.schemes.weights import Weights


def load_pretrained(processor_class: Any, model_class: Any, weights: Weights, placement: Placement) -> tuple[Any, Any]:
    """(processor, model) of a checkpoint, the model in evaluation mode, both of transformers' classes."""
    arguments = weights.pretrained_arguments()
    with no_progress_bars():
        processor = processor_class.from_pretrained(weights.location, **arguments)
        model = model_class.from_pretrained(weights.location, dtype=placement.torch_dtype(), **arguments)
    return processor, model.to(placement.torch_device()).eval()


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
