"""How near the sources of a dataset are to images of the world, and how much they differ among themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from evaluation.frechet import frechet_distance, gaussian_of
from models import registry
from zoo.export import model_id
from zoo.world import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.world import Scene


def of_sources(sources: Sequence[Image.Image], held_out: Sequence[Scene]) -> dict[str, float]:
    """Fréchet distance (features of zoo:dino) to held-out scenes, and mean pairwise distances.

    The distance of two images is 1 less the cosine of their features, and for pixels the mean absolute difference.
    """
    encoder = registry.load("ImageEncoder", model_id("dino"))
    own_BD = encoder.encode_images(sources)
    world_BD = encoder.encode_images([Image.fromarray(render(scene)) for scene in held_out])
    return {
        "num_sources": len(sources),
        "fid_dino": round(frechet_distance(gaussian_of(own_BD), gaussian_of(world_BD)), 4),
        "pairwise_dino": round(_mean_pairwise(1 - own_BD @ own_BD.T), 4),
        "pairwise_pixels": round(_mean_pairwise(_pixel_distances(sources)), 4),
    }


def _pixel_distances(images: Sequence[Image.Image]) -> np.ndarray:
    """(B, B), 0 to 1, of the images at 16 px."""
    small = [np.asarray(image.resize((16, 16), Image.Resampling.BOX), np.float32).ravel() / 255 for image in images]
    pixels_BD = np.stack(small)
    return np.stack([np.abs(pixels_BD - one).mean(1) for one in pixels_BD])


def _mean_pairwise(distance_BB: np.ndarray) -> float:
    count = len(distance_BB)
    return float((distance_BB.sum() - np.trace(distance_BB)) / (count * (count - 1)))
