"""Masks show where an editor may change an image: they come from files, or a segmenter finds a phrase."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from core.errors import EvaluationError
from evaluation.images import open_mask
from evaluation.segmenting import THRESHOLD, load_segment, reads_instructions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from evaluation.benchmark import EditCase
    from evaluation.segmenting import Segment
    from models.placement import Placement
    from models.protocols import Bools

    Masker: TypeAlias = Callable[[Sequence[EditCase], Sequence[Image]], list[Bools]]

_log = logging.getLogger(__name__)

# H W pixels of an image


@dataclass(frozen=True, slots=True)
class PhraseMasks:
    """Masks by a segmenter: of the phrase that names the part to be changed, or of the instruction.

    A TextSegmenter is asked for the phrase (Bodur et al. 2023, iEdit), a region head for the phrase only where a case
    has no instruction.
    """

    model: str
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        """Raises EvaluationError for a threshold that is no probability."""
        if not 0 <= self.threshold <= 1:
            raise EvaluationError(f"the threshold of masks is {self.threshold}; expected a probability, 0 to 1")

    def load(self, placement: Placement | None = None) -> Masker:
        """The function that makes the masks. Raises ModelError for a segmenter that is not there."""
        return phrase_masks(load_segment(self.model, placement), self.threshold, self.text_of)

    def text_of(self, case: EditCase) -> str:
        """The text that the segmenter is asked with, or empty for none."""
        return (case.instruction if reads_instructions(self.model) else "") or case.phrase


Masks: TypeAlias = Literal["none", "given"] | PhraseMasks
"""Where masks come from: nowhere, the benchmark's files, or a segmenter."""


def masker_of(masks: Masks, placement: Placement | None = None) -> Masker | None:
    """The function that makes the masks, or None for no masks. Raises ModelError for a segmenter that is not there."""
    if isinstance(masks, PhraseMasks):
        return masks.load(placement)
    return given_masks if masks == "given" else None


def given_masks(cases: Sequence[EditCase], images: Sequence[Image]) -> list[Bools]:
    """The masks of the benchmark, (H, W) each, or the whole image where a case has none."""
    return [
        whole(image) if case.mask is None else open_mask(case.mask, image.size)
        for case, image in zip(cases, images, strict=True)
    ]


def phrase_masks(segment: Segment, threshold: float, text_of: Callable[[EditCase], str]) -> Masker:
    """A masker that asks `segment` with a text of each case. Raises ValueError for a threshold beyond 0 to 1."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"the threshold of masks is {threshold}; expected a probability, 0 to 1")

    def masks(cases: Sequence[EditCase], images: Sequence[Image]) -> list[Bools]:
        return segmented(segment, images, [text_of(case) for case in cases], threshold)

    return masks


def segmented(
    segment: Segment, images: Sequence[Image], texts: Sequence[str], threshold: float = THRESHOLD
) -> list[Bools]:
    """(H, W) for each image, true where the text is at least as likely as `threshold`.

    Without a text, and for a text that is not found, the mask is the whole image: an empty one would forbid the edit.
    """
    named = [row for row, text in enumerate(texts) if text.strip()]
    found = segment([images[row] for row in named], [texts[row] for row in named])
    masks = [whole(image) for image in images]
    for row, prob_HW in zip(named, found, strict=True):
        mask_HW = prob_HW >= threshold
        if mask_HW.any():
            masks[row] = mask_HW
        else:
            _log.warning("%r was not found at threshold %s: its image is edited as a whole", texts[row], threshold)
    return masks


def whole(image: Image) -> Bools:
    """A mask (H, W) of the whole image, true at every pixel."""
    return np.ones((image.height, image.width), dtype=bool)
