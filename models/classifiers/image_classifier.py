"""Trained classifiers of images through transformers: any `…ForImageClassification` checkpoint.

The function from logits to probabilities is that of the library's own pipeline: sigmoid for a checkpoint of several
independent labels or of one label, softmax for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import stacked
from models.classifiers.labels import labels_of, places_of
from models.pixels import prepared_pixels
from models.placement import in_batches
from models.pretrained import load_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

# B rows, K labels asked for, L labels of the checkpoint


class TrainedClassifier:
    """An ImageClassifier over a checkpoint with its image processor, for example Falconsai/nsfw_image_detection."""

    labels: tuple[str, ...]

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the checkpoint. Raises ValueError for one that was trained to predict numbers."""
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        self._processor, self._model = load_pretrained(
            AutoImageProcessor, AutoModelForImageClassification, weights, placement
        )
        config = self._model.config
        if config.problem_type == "regression":
            raise ValueError(f"{weights.model_id} predicts numbers, not labels; name a classifier")
        self._is_independent = config.problem_type == "multi_label_classification" or config.num_labels == 1
        self._batch_size = placement.batch_size
        self.labels = labels_of(config.id2label)

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """(B, C, H, W) of images, or of what was prepared already, in the precision of the model, on the CPU."""
        return prepared_pixels(self._processor, images, self._model.dtype)

    def classify(self, images: Sequence[Image], labels: Sequence[str]) -> Floats:
        """(B, K): the probability of each of the labels. Raises ValueError for a label that the checkpoint lacks."""
        places = places_of(self.labels, labels)
        return stacked(in_batches(self._probabilities, images, self._batch_size), len(self.labels))[:, places]

    def _probabilities(self, images: Sequence[Image]) -> list[Floats]:
        import torch

        pixels_BCHW = self.prepare_images(images).to(self._model.device)
        with torch.inference_mode():
            logits_BL = self._model(pixel_values=pixels_BCHW).logits.float()
        prob_BL = logits_BL.sigmoid() if self._is_independent else logits_BL.softmax(dim=-1)
        return list(prob_BL.cpu().numpy())
