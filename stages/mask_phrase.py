"""Mask what the edit changes: the source phrase on the source, the target phrase on the target.

Reads   source_images (list<binary>), target_image (binary), source_phrase (string), target_phrase (string)
Writes  source_mask_png (binary), target_mask_png (binary), source_mask_frac (float32, 0 to 1),
        target_mask_frac (float32, 0 to 1)
Drops   nothing: `select` owns the gate on areas, so moving it never reruns the model
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.4: CLIPSeg asked for the words that differ, the noun
        included when an adjective changed. The threshold is chosen (the paper names none).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from models.protocols import TextSegmenter
from pipeline.stage import MapStage, Serves, TwoPart
from samples.stored_images import first_images, mask_png, rgb_images

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class MaskPhrase(MapStage):
    """Masks of the size of their image, inside where the model's probability is above `threshold`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images", "target_image", "source_phrase", "target_phrase")
    writes: ClassVar = ("source_mask_png", "target_mask_png", "source_mask_frac", "target_mask_frac")

    model: Annotated[str, Serves(TextSegmenter)]
    """A TextSegmenter: `zoo:clipseg`, `hf:CIDAS/clipseg-rd64-refined@<commit>`."""
    threshold: float = Field(default=0.4, gt=0, lt=1)
    """Probability above which a pixel is inside the mask."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        segmenter = ctx.load(TextSegmenter, self.model)

        def get_ready(batch: pa.Table) -> list[Image]:
            return first_images(batch["source_images"]) + rgb_images(batch["target_image"])

        def mask(batch: pa.Table, images: list[Image]) -> pa.Table:
            phrases = batch["source_phrase"].to_pylist() + batch["target_phrase"].to_pylist()
            found = segmenter.segment_phrases(images, [phrase or "" for phrase in phrases])
            masks = [prob_HW > self.threshold for prob_HW in found]
            sides = {"source": masks[: batch.num_rows], "target": masks[batch.num_rows :]}
            for side, side_masks in sides.items():
                pngs: list[Any] = [mask_png(mask_HW) for mask_HW in side_masks]
                shares = [float(mask_HW.mean()) for mask_HW in side_masks]
                batch = batch.append_column(f"{side}_mask_png", pa.array(pngs, pa.binary()))
                batch = batch.append_column(f"{side}_mask_frac", pa.array(shares, pa.float32()))
            return batch

        return TwoPart(prepare=get_ready, finish=mask)
