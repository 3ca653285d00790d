"""Detectors of a fixed set of things through transformers: DETR, RT-DETR, YOLOS and their kin, such as for faces.

Boxes and scores are those of the library's post-processing. The phrases that are asked for are labels of the
checkpoint: the word that its config has for a thing, in the same letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import alike, as_rgb, same_length
from models.classifiers.labels import labels_of, places_of
from models.placement import in_batches
from models.pretrained import load_pretrained
from models.protocols import Detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.schemes.weights import Weights

# N boxes


class LabelDetector:
    """A Detector over any `…ForObjectDetection` checkpoint with its image processor, for example hustvl/yolos-tiny."""

    labels: tuple[str, ...]

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self._processor, self._model = load_pretrained(
            AutoImageProcessor, AutoModelForObjectDetection, weights, placement
        )
        self._batch_size = placement.batch_size
        self.labels = labels_of(self._model.config.id2label)

    def detect(
        self, images: Sequence[Image], phrases: Sequence[Sequence[str]], *, threshold: float
    ) -> list[Detections]:
        """Boxes scoring at least `threshold` of the labels asked of each image, within the image.

        An image of which nothing is asked is not looked at. Raises ValueError when the two lists differ in length, and
        for a phrase that is no label of the checkpoint.
        """
        import numpy as np

        same_length(images=images, phrases=phrases)
        asked = [frozenset(places_of(self.labels, of_image)) for of_image in phrases]
        just_below = float(np.nextafter(np.float32(threshold), np.float32(-1)))  # the library keeps what is above

        def run(part: Sequence[int]) -> list[Detections]:
            return self._detect(as_rgb(images[row] for row in part), [asked[row] for row in part], just_below)

        none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
        found = dict.fromkeys(range(len(images)), none)
        for rows in alike(image.size for image in images):  # no image is padded to its neighbours
            to_ask = [row for row in rows if asked[row]]
            found |= zip(to_ask, in_batches(run, to_ask, self._batch_size), strict=True)
        return list(found.values())

    def _detect(self, images: list[Image], asked: list[frozenset[int]], above: float) -> list[Detections]:
        import torch

        inputs = self._processor(images=images, return_tensors="pt").to(self._model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            out = self._model(**inputs)
        out.logits, out.pred_boxes = out.logits.float(), out.pred_boxes.float()
        results = self._processor.post_process_object_detection(
            out, threshold=above, target_sizes=[(image.height, image.width) for image in images]
        )
        found = zip(results, asked, images, strict=True)
        return [self._sorted(result, wanted, image) for result, wanted, image in found]

    def _sorted(self, result: dict[str, Any], wanted: frozenset[int], image: Image) -> Detections:
        import numpy as np

        label_N = result["labels"].cpu().numpy()
        scores_N = result["scores"].cpu().numpy()
        boxes_N4 = np.clip(result["boxes"].cpu().numpy(), 0, [image.width, image.height] * 2).astype(np.float32)
        order = [int(box) for box in np.argsort(-scores_N, kind="stable") if int(label_N[box]) in wanted]
        return Detections(boxes_N4[order], scores_N[order], tuple(self.labels[label_N[box]] for box in order))
