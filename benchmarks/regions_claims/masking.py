"""The masks of held-out edits by each way that trains nothing, and the images that a generator repaints in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.images import open_rgb
from evaluation.masks import segmented
from models import registry
from models.batches import as_rgb
from models.regions.region_maps import with_margin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from benchmarks.regions_claims.cells import Way
    from benchmarks.regions_claims.settings import Numbers
    from evaluation.benchmark import Benchmark
    from models.protocols import Bools

PHRASE_MODEL, BOX_MODEL, SAM_MODEL = "zoo:clipseg", "zoo:grounding-dino", "zoo:sam"


def masks_by(way: Way, cases: Benchmark, numbers: Numbers) -> list[Bools]:
    """A mask (H, W) of each edit. Where a phrase is not found it is the whole image, as in `editloom edit`."""
    images, phrases = sources(cases), [case.phrase for case in cases.cases]
    if way == "phrase":
        segmenter = registry.load("TextSegmenter", PHRASE_MODEL)
        return segmented(segmenter.segment_phrases, images, phrases, numbers.phrase_threshold)
    if way == "boxes":
        return _of_boxes(images, phrases, numbers.box_threshold)
    return [np.ones((image.height, image.width), np.bool_) for image in images]


def sources(cases: Benchmark) -> list[Image]:
    """The images of the edits."""
    return as_rgb(open_rgb(case.source) for case in cases.cases)  # type: ignore[arg-type]  # files


def repainted(cases: Benchmark, masks: Sequence[Bools], generator: str, seeds: Sequence[int], numbers: Numbers) -> Any:
    """Each image repainted in its mask and the margin, from the caption of the true result."""
    settings = dict(numbers.editing)
    margin_frac = settings.pop("margin_frac")
    return registry.load("EditSynthesizer", generator).inpaint(
        sources(cases), [with_margin(mask_HW, margin_frac) for mask_HW in masks],
        [case.target_caption for case in cases.cases], seeds=seeds, **settings,
    )  # fmt: skip


def _of_boxes(images: Sequence[Image], phrases: Sequence[str], threshold: float) -> list[Bools]:
    detector, segmenter = registry.load("Detector", BOX_MODEL), registry.load("BoxSegmenter", SAM_MODEL)
    found = detector.detect(images, [[phrase] if phrase else [] for phrase in phrases], threshold=threshold)
    shown = segmenter.segment_boxes(images, [one.boxes_N4 for one in found])
    masks = [one.masks_NHW.any(0) for one in shown]
    return [mask_HW if mask_HW.any() else np.ones_like(mask_HW) for mask_HW in masks]
