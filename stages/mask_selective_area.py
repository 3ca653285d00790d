"""Mask where the target image has detail that people look at: faces, animals, text.

Reads   target_image (binary)
Writes  selective_mask_png (binary), selective_frac (float32, 0 to 1), selective_labels (list<string>)
Drops   nothing: an image without such a thing has an empty mask
Source  Meng et al. 2024, InstructGIE (arXiv 2403.05018), selective-area matching: panoptic segments of Mask2Former
        whose label a language model picks. List, question, `min_score` and `min_frac` are chosen; the paper gives none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import PanopticSegmenter, TextGenerator
from pipeline.stage import MapStage, Serves, TwoPart
from samples.columns import column
from samples.stored_images import mask_png, rgb_images
from stages.regions.details import DETAILED, DetailLabels

if TYPE_CHECKING:
    from PIL.Image import Image

    from models.protocols import Bools, Segments
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class MaskSelectiveArea(MapStage):
    """The union of the segments with a detailed label, of the image's size.

    The default labels are chosen: person, COCO's ten animals and the teddy bear, since a wrong eye or mouth is seen at
    once, and things with letters, digits, keys or a screen, which blur to nonsense first. Vehicles, food and furniture
    are left out: their shape matters more than any detail.
    """

    version: ClassVar[int] = 1
    reads: ClassVar = ("target_image",)
    writes: ClassVar = ("selective_mask_png", "selective_frac", "selective_labels")

    model: Annotated[str, Serves(PanopticSegmenter)]
    """A PanopticSegmenter: `zoo:mask2former`, `hf:facebook/mask2former-swin-large-coco-panoptic@<commit>`."""
    labels: tuple[str, ...] = Field(default=DETAILED, strict=False)
    """Labels with detail; how a name means a label is in `stages.regions.details`."""
    language_model: Annotated[str | None, Serves(TextGenerator)] = None
    """A TextGenerator that is asked about each label that occurs, once; `labels` decides where it does not answer."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Least score of a segment."""
    min_frac: float = Field(default=0.001, ge=0, le=1)
    """Least share of the image that a segment covers; a smaller one is a speck."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the models once."""
        segmenter = ctx.load(PanopticSegmenter, self.model)
        asked = None if self.language_model is None else ctx.load(TextGenerator, self.language_model)
        details = DetailLabels(self.labels, asked)

        def get_ready(batch: pa.Table) -> list[Image]:
            return rgb_images(batch["target_image"])

        def mask(batch: pa.Table, images: list[Image]) -> pa.Table:
            found = segmenter.segment_panoptic(images)
            chosen = details.chosen(label for segments in found for label in segments.labels)
            areas = [self._area(segments, chosen) for segments in found]
            values = {
                "selective_mask_png": [mask_png(mask_HW) for mask_HW, _ in areas],
                "selective_frac": [float(mask_HW.mean()) for mask_HW, _ in areas],
                "selective_labels": [labels for _, labels in areas],
            }
            for name, made in values.items():
                batch = batch.append_column(name, pa.array(made, column(name).type))
            return batch

        return TwoPart(prepare=get_ready, finish=mask)

    def _area(self, segments: Segments, chosen: frozenset[str]) -> tuple[Bools, list[str]]:
        """The mask of the segments that count, and their labels, each once, in alphabetical order."""
        import numpy as np

        inside = segments.segment_HW[segments.segment_HW >= 0]
        num_pixels_N = np.bincount(inside, minlength=len(segments.labels))
        least = max(1, self.min_frac * segments.segment_HW.size)
        kept = [
            number
            for number, (label, score) in enumerate(zip(segments.labels, segments.scores, strict=True))
            if label in chosen and score >= self.min_score and num_pixels_N[number] >= least
        ]
        return np.isin(segments.segment_HW, kept), sorted({segments.labels[number] for number in kept})
