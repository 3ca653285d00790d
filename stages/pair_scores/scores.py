"""All scores of a pair, in steps from cheap to dear: of a pair that failed at one, a caller need not take the next.

Each step takes many pairs at once. `pixel_scores`, `cosine_scores` and `dino_scores` are the same without steps, for
callers that have the vectors. Scores are rounded to `DECIMALS`. Bounds on scores are in `stages.pair_scores.bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.pair_scores.cosines import CAPTION_SCORES, caption_scores
from stages.pair_scores.pixels import l1_scores, pixels_of, ssim_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from models.protocols import Bools, Floats, ImageEncoder, ImageTextEncoder

L1_SCORES = ("pair_l1", "outside_l1")
SSIM_SCORES = ("pair_ssim", "outside_ssim")
DINO_SCORE = "pair_dino_cos"
OUTSIDE_SCORES = ("outside_ssim", "outside_l1")
PAIR_SCORES = (*CAPTION_SCORES, DINO_SCORE, "pair_ssim", "pair_l1", *OUTSIDE_SCORES)
"""Columns of all scores, in the order of samples/columns.py."""

DECIMALS = 5
"""Kept of a score: what lies below depends on how rows fell into batches."""

Scores = dict[str, float | None]
"""Score by the name of its column; None where the pair cannot have it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pair:
    """Two images in mode RGB, the vectors (D,) of their captions, and where the edit may change the image, if known."""

    source: Image
    target: Image
    source_text_D: Floats
    target_text_D: Floats
    region: Bools | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreStep:
    """Scores that are measured together."""

    names: tuple[str, ...]
    measure: Callable[[Sequence[Pair]], list[Scores]]
    """Called with one pair or more."""


def score_steps(encoder: ImageTextEncoder, image_encoder: ImageEncoder | None) -> tuple[ScoreStep, ...]:
    """The steps from cheap to dear. Without an image encoder `pair_dino_cos` has no value."""
    return (
        ScoreStep(names=L1_SCORES, measure=_measure_l1),
        ScoreStep(names=SSIM_SCORES, measure=_measure_ssim),
        ScoreStep(names=CAPTION_SCORES, measure=lambda pairs: _measure_captions(encoder, pairs)),
        ScoreStep(names=(DINO_SCORE,), measure=lambda pairs: _measure_dino(image_encoder, pairs)),
    )


def rounded(value: float | None) -> float | None:
    """The score as its column holds it, in single precision, so that a bound says the same of both."""
    return None if value is None else float(np.round(np.float32(value), DECIMALS))


def pixel_scores(source: Image, target: Image, region: Bools | None) -> Scores:
    """`L1_SCORES` and `SSIM_SCORES` of two images in mode RGB; no values where they differ in size."""
    l1 = _of_pixels(L1_SCORES, source, target, region, l1_scores)
    return {**l1, **_of_pixels(SSIM_SCORES, source, target, region, ssim_scores)}


def cosine_scores(source_BD: Floats, target_BD: Floats, said_BD: Floats, asked_BD: Floats) -> list[Scores]:
    """`CAPTION_SCORES` of each row, from the vectors of the images and of their captions."""
    found = caption_scores(source_BD, target_BD, said_BD, asked_BD)
    return [{name: rounded(values_B[row]) for name, values_B in found.items()} for row in range(len(source_BD))]


def dino_scores(source_BD: Floats, target_BD: Floats) -> list[Scores]:
    """`DINO_SCORE` of each row, from the vectors of the images."""
    return [{DINO_SCORE: rounded(value)} for value in (source_BD * target_BD).sum(1)]


def _measure_l1(pairs: Sequence[Pair]) -> list[Scores]:
    return [_of_pixels(L1_SCORES, pair.source, pair.target, pair.region, l1_scores) for pair in pairs]


def _measure_ssim(pairs: Sequence[Pair]) -> list[Scores]:
    return [_of_pixels(SSIM_SCORES, pair.source, pair.target, pair.region, ssim_scores) for pair in pairs]


def _of_pixels(
    names: tuple[str, ...], source: Image, target: Image, region: Bools | None,
    compare: Callable[..., tuple[float | None, ...]],
) -> Scores:  # fmt: skip
    """The scores, or no values where the two images differ in size. A region of another size is left out."""
    if source.size != target.size:
        return dict.fromkeys(names)
    fits = region is not None and region.shape == source.size[::-1]
    found = compare(pixels_of(source), pixels_of(target), region if fits else None)
    return {name: rounded(value) for name, value in zip(names, found, strict=True)}


def _measure_captions(encoder: ImageTextEncoder, pairs: Sequence[Pair]) -> list[Scores]:
    source_BD, target_BD = _image_vectors(encoder, pairs)
    texts = (np.stack([getattr(pair, name) for pair in pairs]) for name in ("source_text_D", "target_text_D"))
    return cosine_scores(source_BD, target_BD, *texts)


def _measure_dino(encoder: ImageEncoder | None, pairs: Sequence[Pair]) -> list[Scores]:
    if encoder is None:
        return [{DINO_SCORE: None} for _ in pairs]
    return dino_scores(*_image_vectors(encoder, pairs))


def _image_vectors(encoder: ImageTextEncoder | ImageEncoder, pairs: Sequence[Pair]) -> tuple[Floats, Floats]:
    """(B, D) of the sources and of the targets. An image that several pairs share is encoded once."""
    images = {id(image): image for pair in pairs for image in (pair.source, pair.target)}
    vectors = dict(zip(images, encoder.encode_images(list(images.values())), strict=True))
    return (
        np.stack([vectors[id(pair.source)] for pair in pairs]),
        np.stack([vectors[id(pair.target)] for pair in pairs]),
    )
