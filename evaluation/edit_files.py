"""Edits image files: what `editloom edit` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import EvaluationError
from evaluation.editors import requests_of
from evaluation.masks import PhraseMasks, segmented
from evaluation.models import load_model
from evaluation.pictures import open_mask, open_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

    from evaluation.editors import EditorChoice
    from models.placement import Placement
    from models.protocols import Bools

SAVE_ARGUMENTS = {
    ".png": {}, ".jpg": {"quality": 95, "subsampling": 0}, ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"quality": 95},
}  # fmt: skip
"""Suffixes that a single output may have."""


def edit_files(
    paths: Sequence[Path],
    prompt: str,
    out: Path,
    choice: EditorChoice,
    *,
    mask: Path | None = None,
    phrase: str = "",
    placement: Placement | None = None,
) -> list[Path]:
    """Edit each image to `prompt`; the files written, one an image.

    `out` is the file to write when there is one image and the name ends in .png, .jpg, .jpeg or .webp; else a folder,
    in which `<name of the image>.png` is written. The images share the seed, so that none depends on the others, and
    the mask; with `choice.masks` a PhraseMasks each gets its own mask of `phrase`. Raises EvaluationError for files
    that cannot be read, ModelError for models.
    """
    targets = _targets(paths, out)
    images = [open_rgb(path) for path in paths]
    masks = _masks(images, choice, mask, phrase, placement)
    editor = load_model("Editor", choice.model, placement, settings=choice.settings())
    requests = requests_of(images, [prompt] * len(images), masks)
    edited = editor.edit(requests, seeds=[choice.seed] * len(images))
    for image, target in zip(edited, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, **SAVE_ARGUMENTS[target.suffix.lower()])
    return targets


def _masks(
    images: list[Image], choice: EditorChoice, mask: Path | None, phrase: str, placement: Placement | None
) -> list[Bools] | None:
    if mask is not None:
        masks = [open_mask(mask, image.size) for image in images]
        if not any(one.any() for one in masks):
            raise EvaluationError(f"mask {mask} lets nothing change; expected white or transparent pixels somewhere")
        return masks
    if not isinstance(choice.masks, PhraseMasks):
        return None
    segmenter = load_model("TextSegmenter", choice.masks.model, placement)
    found = segmented(segmenter, images, [phrase] * len(images), choice.masks.threshold)
    return [np.asarray(one) for one in found]


def _targets(paths: Sequence[Path], out: Path) -> list[Path]:
    if len(paths) == 1 and out.suffix.lower() in SAVE_ARGUMENTS and not out.is_dir():
        targets = [out]
    else:
        targets = [out / f"{path.stem}.png" for path in paths]
    twice = sorted({str(target) for target in targets if targets.count(target) > 1})
    if twice:
        raise EvaluationError(f"several images would be written to {twice[0]}; edit them in separate calls")
    sources = {path.resolve() for path in paths}
    for target in targets:
        if target.resolve() in sources:
            raise EvaluationError(f"{target} is one of the images to edit; name another place with --out")
    return targets
