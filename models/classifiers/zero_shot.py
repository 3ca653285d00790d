"""Classification without training: an encoder of images and texts chooses between labels by their cosines.

Source  Radford et al. 2021, CLIP, section 3.1: each label is a prompt; the probabilities are the softmax of the cosines
        times the scale that the encoder learned with its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Floats, ImageTextEncoder

SCALE = 100.0
"""The factor of the cosines for an encoder that states no scale: the limit of CLIP's, which its training reaches."""

# B rows, K labels, D embedding


class ZeroShotClassifier:
    """An ImageClassifier that takes any texts as labels: whole prompts, such as "a photo with a watermark"."""

    labels: tuple[str, ...] = ()

    def __init__(self, encoder: ImageTextEncoder) -> None:
        self._encoder, self._scale = encoder, float(getattr(encoder, "scale", SCALE))
        self._emb_of: dict[tuple[str, ...], Floats] = {}

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """What the encoder prepares."""
        return prepared(self._encoder, images)

    def classify(self, images: Sequence[Image], labels: Sequence[str]) -> Floats:
        """(B, K): each row adds up to 1. Raises ValueError for fewer than two labels: one alone is always certain."""
        import numpy as np

        if len(labels) < 2:
            raise ValueError(f"labels {list(labels)}: an encoder chooses between labels; expected two or more")
        logit_BK = self._scale * (self._encoder.encode_images(images) @ self._encoded(tuple(labels)).T)
        raised_BK = np.exp(logit_BK - logit_BK.max(axis=1, keepdims=True, initial=-np.inf))
        prob_BK: Floats = (raised_BK / raised_BK.sum(axis=1, keepdims=True)).astype(np.float32)
        return prob_BK

    def _encoded(self, labels: tuple[str, ...]) -> Floats:
        """(K, D) of the labels, encoded once: a stage asks for the same ones in every batch."""
        if labels not in self._emb_of:
            self._emb_of = {labels: self._encoder.encode_texts(labels)}
        return self._emb_of[labels]
