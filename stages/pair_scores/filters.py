"""The published filters of synthetic pairs: bounds on scores, and how many pairs of an edit they keep.

Source  Zhao et al. 2024, UltraEdit: the scripts of its released code (HaozheZhao/UltraEdit at 1af5f04); Brooks et al.
        2023, InstructPix2Pix: the defaults of its released code (timothybrooks/instruct-pix2pix at 0dffd1e), in which
        the bound on the images is 0.7 where the paper has 0.75.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stages.pair_scores.bounds import Bounds

FilterName = Literal["ultraedit-free", "ultraedit-region", "instruct-pix2pix"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFilter:
    """Bounds on the scores of a pair, and how many pairs of one edit stay: the best by `pair_direction_cos`."""

    bounds: dict[str, Bounds]
    keep: int


def _filter(keep: int, **least: float) -> PublishedFilter:
    both = {"source_caption_cos": 0.2, "target_caption_cos": 0.2}
    return PublishedFilter(bounds={name: Bounds(min=value) for name, value in (both | least).items()}, keep=keep)


FILTERS: dict[str, PublishedFilter] = {
    "ultraedit-free": _filter(4, pair_image_cos=0.75, pair_direction_cos=0.22, pair_dino_cos=0.4),
    "ultraedit-region": _filter(3, pair_image_cos=0.70, pair_direction_cos=0.22, pair_dino_cos=0.4),
    "instruct-pix2pix": _filter(4, pair_image_cos=0.70, pair_direction_cos=0.2),
}


def with_filter(name: str | None, bounds: dict[str, Bounds]) -> dict[str, Bounds]:
    """The bounds of the named filter, replaced by those of the same columns in `bounds`."""
    return {**(FILTERS[name].bounds if name else {}), **bounds}
