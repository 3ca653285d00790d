"""Segments images by a text, with a segmenter of phrases or one of instructions, whichever a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from core.errors import ModelError
from evaluation import loading
from models import registry
from models.model_ids import find
from models.regions.head_file import read_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats

    Segment: TypeAlias = Callable[[Sequence[Image], Sequence[str]], list[Floats]]
    """From images and texts, one an image, to maps of probabilities (H, W) at each image's own size."""

THRESHOLD = 0.4
"""A pixel of at least this probability belongs to the phrase: UltraEdit's choice for CLIPSeg, iEdit states none."""
BY_PHRASE, BY_INSTRUCTION = "TextSegmenter", "InstructionSegmenter"
METHODS = {BY_PHRASE: "segment_phrases", BY_INSTRUCTION: "segment_instructions"}
"""Protocol that finds where a text is -> its method."""


def reads_instructions(model: str) -> bool:
    """True for a segmenter that is asked with an instruction, and not with a phrase."""
    return registry.cannot_serve(BY_PHRASE, model) is not None and registry.cannot_serve(BY_INSTRUCTION, model) is None


def own_threshold(model: str) -> float:
    """The probability from which a pixel is inside: that of a region head's training, THRESHOLD for phrases."""
    return read_config(Path(find(model).location)).threshold if reads_instructions(model) else THRESHOLD


def load_segment(model: str, placement: Placement | None = None) -> Segment:
    """The function of a loaded segmenter. Raises ModelError for a model that is absent or segments nothing."""
    protocol = BY_INSTRUCTION if reads_instructions(model) else BY_PHRASE
    if clause := registry.cannot_serve(protocol, model):
        raise ModelError(f"model {model!r} {clause}; name a phrase segmenter or a region head")
    method: Segment = getattr(loading.load_model(protocol, model, placement), METHODS[protocol])
    return method
