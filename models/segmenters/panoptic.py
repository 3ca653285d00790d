"""Mask2Former through transformers: everything on an image, each pixel once.

Source  Cheng et al. 2022, Masked-attention Mask Transformer for Universal Image Segmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import alike, as_rgb
from models.placement import in_batches
from models.pretrained import load_pretrained
from models.protocols import Segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.schemes.weights import Weights

# H W pixels


class Mask2Former:
    """A PanopticSegmenter over a `Mask2FormerForUniversalSegmentation` checkpoint.

    The library's panoptic post-processing with its own thresholds. No segments of a class are fused: a checkpoint
    does not say which of its classes are stuff, so two patches of sky may be two segments of the same label.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

        self._processor, self._model = load_pretrained(
            AutoImageProcessor, Mask2FormerForUniversalSegmentation, weights, placement
        )
        self._batch_size = placement.batch_size
        self._size_is_fixed = bool(getattr(self._processor.size, "height", None))

    def segment_panoptic(self, images: Sequence[Image]) -> list[Segments]:
        """One map an image, at the image's own size. Segments are numbered from 0 in the order of their labels."""
        found: dict[int, Segments] = {}
        for rows in alike(None if self._size_is_fixed else image.size for image in images):
            results = in_batches(self._segment, [images[row] for row in rows], self._batch_size)
            found |= zip(rows, results, strict=True)
        return [found[row] for row in range(len(images))]

    def _segment(self, images: Sequence[Image]) -> list[Segments]:
        import torch

        inputs = self._processor(images=as_rgb(images), return_tensors="pt").to(self._model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            out = self._model(**inputs)
            out.class_queries_logits = out.class_queries_logits.float()
            out.masks_queries_logits = out.masks_queries_logits.float()
            sizes = [(image.height, image.width) for image in images]
            results = self._processor.post_process_panoptic_segmentation(
                out, label_ids_to_fuse=set(), target_sizes=sizes
            )
        return [self._segments(result) for result in results]

    def _segments(self, result: dict[str, Any]) -> Segments:
        import numpy as np

        number_HW = result["segmentation"].cpu().numpy()
        segment_HW = np.full(number_HW.shape, -1, np.int32)
        infos = result["segments_info"]
        for place, info in enumerate(infos):
            segment_HW[number_HW == info["id"]] = place
        names = self._model.config.id2label
        labels = tuple(str(names[info["label_id"]]) for info in infos)
        return Segments(segment_HW, labels, tuple(float(info["score"]) for info in infos))
