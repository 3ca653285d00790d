"""Masks of instructions by a trained region head, for the stages that use one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Bools, InstructionSegmenter


def masks_of(
    segmenter: InstructionSegmenter, images: Sequence[Image], texts: Sequence[str | None], threshold: float | None
) -> list[Bools]:
    """Where each instruction changes its image, (H, W): probability above `threshold`. Nowhere without a text.

    Without a threshold it is that of the segmenter's training.
    """
    level = segmenter.threshold if threshold is None else threshold
    found = segmenter.segment_instructions(images, [text or "" for text in texts])
    return [(prob_HW > level) & bool((text or "").strip()) for prob_HW, text in zip(found, texts, strict=True)]
