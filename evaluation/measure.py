"""Take every measure that the data of a sample allows: a row of numbers, and features for Fréchet distances.

The reference is the true target, or in some benchmarks the source. Pixel values are from 0 to 1; cosines and SSIM are
from -1 to 1. Baselines are measured in the same pass as the outputs, so that each image is opened and embedded once.

| column | what it is |
|---|---|
| l1, l2 | mean absolute and mean squared difference of the edited image, resized, and the reference |
| l1_inside, l1_outside, l2_inside, l2_outside | the same within and outside the mask |
| ssim_m, ssim_not_m | SSIM of edited image and source within and outside the mask |
| clip_i, dino | cosine of edited image and reference |
| clip_i_source, dino_source | cosine of edited image and source, where the reference is another image |
| clip_t | cosine of edited image and target text |
| clip_t_target | cosine of the true target and target text: the clip_t of a perfect edit |
| clip_score | 100 * 2.5 * max(clip_t, 0) |
| clip_direction | cosine of the changes of image and text |

The name of a column that a judge (a network) gives ends in `@` and the judge's model id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.errors import EvaluationError
from evaluation.images import name_of, open_mask, open_rgb
from evaluation.judges import short_name
from evaluation.metrics import (
    clip_scores,
    cosines,
    direction_cosines,
    l1,
    l2,
    resized_to,
    ssim_in_and_out,
    unit_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL.Image import Image

    from evaluation.benchmark import Measure, Sample
    from evaluation.images import StoredImage
    from evaluation.judges import Judges
    from evaluation.views import View
    from models.protocols import Floats, ImageEncoder, ImageTextEncoder

    Embeddings = dict[StoredImage, Floats]
    Outputs = Mapping[str, StoredImage]
    """Key of a sample -> the image that is scored."""

Row = dict[str, float]

SAMPLES_AT_ONCE = 32
MEASURES: tuple[Measure, ...] = ("clip", "dino", "fid")

# D embedding, H W pixels, C colours


@dataclass(slots=True)
class Measured:
    """`rows`: the measures of each sample that could be taken. `features`: by network and then image, (D,) each.

    `baselines`: rows like these by name of the baseline, empty for a sample that the baseline has no image for.
    """

    rows: list[Row] = field(default_factory=list)
    baselines: dict[str, list[Row]] = field(default_factory=dict)
    features: dict[str, Embeddings] = field(default_factory=dict)


def measure(
    samples: Sequence[Sample],
    outputs: Outputs,
    judges: Judges,
    *,
    baselines: Mapping[str, Outputs] | None = None,
    views: Mapping[Measure, View] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Measured:
    """The measures of `samples`, whose edited images are `outputs` by key, as judges see them through `views`.

    `baselines` are further outputs by name, measured in the same way. Raises EvaluationError for broken files.
    """
    others = baselines or {}
    measured = Measured(features={name: {} for name in judges.fid}, baselines={name: [] for name in others})
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        part = samples[start : start + SAMPLES_AT_ONCE]
        seen = _Seen(part, (outputs, *others.values()), views or {})
        measured.rows += [_row(one, outputs[one.key], judges, seen) for one in part]
        for name, made in others.items():
            measured.baselines[name] += [
                _row(one, made[one.key], judges, seen) if one.key in made else {} for one in part
            ]
        for name, encoder in judges.fid.items():
            measured.features[name] |= seen.by(name, encoder, "fid")
        if progress:
            progress("scored", len(measured.rows), len(samples))
    return measured


class _Seen:
    """Images of one portion of samples, each opened once, and embedded once by each network."""

    def __init__(self, samples: Sequence[Sample], made: Sequence[Outputs], views: Mapping[Measure, View]) -> None:
        stored = [
            image for one in samples
            for image in (*(outputs.get(one.key) for outputs in made), one.reference, one.source) if image is not None
        ]  # fmt: skip
        self.images = {image: open_rgb(image) for image in dict.fromkeys(stored)}
        self._samples, self._views = samples, views
        self._embeddings: dict[tuple[str, View | None], Embeddings] = {}
        self._texts: dict[str, dict[str, Floats]] = {}

    def by(self, name: str, encoder: ImageEncoder | ImageTextEncoder, measure: Measure) -> Embeddings:
        view = self._views.get(measure)
        if (name, view) not in self._embeddings:
            images = list(self.images.values())
            emb_BD = encoder.encode_images(images if view is None else view(images))
            self._embeddings[name, view] = dict(zip(self.images, emb_BD, strict=True))
        return self._embeddings[name, view]

    def texts_by(self, name: str, encoder: ImageTextEncoder) -> dict[str, Floats]:
        if name not in self._texts:
            texts = [text for one in self._samples for text in (one.source_text, one.target_text) if text is not None]
            once = list(dict.fromkeys(texts))
            self._texts[name] = dict(zip(once, encoder.encode_texts(once), strict=True)) if once else {}
        return self._texts[name]


def _row(sample: Sample, output: StoredImage, judges: Judges, seen: _Seen) -> Row:
    """All measures of one image made for the sample."""
    row = _pixel_row(sample, output, seen.images)
    for name, clip in judges.clip.items():
        row |= _clip_row(sample, output, seen.by(name, clip, "clip"), seen.texts_by(name, clip), name)
    for name, dino in judges.dino.items():
        row |= _image_cosines("dino", sample, output, seen.by(name, dino, "dino"), name)
    return row


def _pixel_row(sample: Sample, output: StoredImage, images: dict[StoredImage, Image]) -> Row:
    row: dict[str, float | None] = {}
    if sample.reference is not None:
        reference = images[sample.reference]
        one_HWC, other_HWC = unit_range(resized_to(images[output], reference.size)), unit_range(reference)
        row |= {"l1": l1(one_HWC, other_HWC), "l2": l2(one_HWC, other_HWC)}
        if sample.mask is not None:
            mask_HW = open_mask(sample.mask, reference.size)
            for name, metric in (("l1", l1), ("l2", l2)):
                row[f"{name}_inside"] = metric(one_HWC, other_HWC, mask_HW)
                row[f"{name}_outside"] = metric(one_HWC, other_HWC, ~mask_HW)
    if sample.source is not None and sample.mask is not None:
        source = images[sample.source]
        mask_HW = open_mask(sample.mask, source.size)
        edited_HWC = unit_range(resized_to(images[output], source.size))
        try:
            row["ssim_m"], row["ssim_not_m"] = ssim_in_and_out(edited_HWC, unit_range(source), mask_HW)
        except ValueError as error:
            raise EvaluationError(f"source {name_of(sample.source)}: {error}") from error
    return {name: value for name, value in row.items() if value is not None}


def _clip_row(sample: Sample, output: StoredImage, emb: Embeddings, text_of: dict[str, Floats], judge: str) -> Row:
    row, name = _image_cosines("clip_i", sample, output, emb, judge), short_name(judge)
    if sample.target_text is None:
        return row
    text_1D = text_of[sample.target_text][None]
    row[f"clip_t@{name}"] = float(cosines(emb[output][None], text_1D)[0])
    row[f"clip_score@{name}"] = float(clip_scores(emb[output][None], text_1D)[0])
    if sample.reference is not None and sample.reference != sample.source:
        row[f"clip_t_target@{name}"] = float(cosines(emb[sample.reference][None], text_1D)[0])
    if sample.source is not None and sample.source_text:
        source_1D, source_text_1D = emb[sample.source][None], text_of[sample.source_text][None]
        direction_B = direction_cosines(source_1D, emb[output][None], source_text_1D, text_1D)
        row[f"clip_direction@{name}"] = float(direction_B[0])
    return row


def _image_cosines(column: str, sample: Sample, output: StoredImage, emb: Embeddings, judge: str) -> Row:
    row, name = Row(), short_name(judge)
    if sample.reference is not None:
        row[f"{column}@{name}"] = _cosine(emb[output], emb[sample.reference])
    if sample.source is not None and sample.source != sample.reference:
        row[f"{column}_source@{name}"] = _cosine(emb[output], emb[sample.source])
    return row


def _cosine(one_D: Floats, other_D: Floats) -> float:
    return float(cosines(np.atleast_2d(one_D), np.atleast_2d(other_D))[0])
