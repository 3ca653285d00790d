"""Segments image files by a text, for `editloom segment`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.errors import EvaluationError
from evaluation.images import open_rgb, save_png
from evaluation.segmenting import load_segment
from models.diffusion.masked import as_mask_image
from models.regions.drawing import contour, heat_map

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats


class Segmented(NamedTuple):
    """The files of one image, and the share of it that is inside the mask."""

    heat: Path
    outline: Path
    mask: Path
    inside_frac: float


def segment_files(
    paths: Sequence[Path], text: str, model: str, out: Path, *, threshold: float, placement: Placement
) -> list[Segmented]:
    """Write a map of probabilities, an outline and a mask of each image into `out`, named by the image's stem.

    Raises EvaluationError for files that cannot be read and for images of one name, ModelError for a model that is
    absent or segments nothing.
    """
    stems = [path.stem for path in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise EvaluationError(f"several images are called {twice[0]}; segment them in separate calls")
    images = [open_rgb(path) for path in paths]
    found = load_segment(model, placement)(images, [text] * len(images))
    return [
        _written(out, stem, image, prob_HW, threshold)
        for stem, image, prob_HW in zip(stems, images, found, strict=True)
    ]


def _written(out: Path, stem: str, image: Image, prob_HW: Floats, threshold: float) -> Segmented:
    mask_HW = prob_HW > threshold
    pictures = {"heat": heat_map(image, prob_HW), "outline": contour(image, mask_HW), "mask": as_mask_image(mask_HW)}
    files = {name: out / f"{stem}.{name}.png" for name in pictures}
    for name, picture in pictures.items():
        save_png(picture, files[name])
    return Segmented(**files, inside_frac=float(mask_HW.mean()))
