"""Measures of masks against the true region of each edit, by size of the edit.

| measure | what it is |
|---|---|
| iou | area that mask and true region share, divided by the area that they cover together |
| iou_thing, l1_thing | the same, and the mean difference from the true target, of edits of one thing |
| iou_several | iou_thing where the scene has several things |
| wrong_object | share of these where another thing is covered more than the one that changes |
| region_frac | share of the image inside the mask, of edits of one thing |
| size_rank | Spearman's rank correlation of the areas of masks and true regions, over all edits |
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.regions_claims.settings import WHOLE_KINDS
from zoo.evaluation.edits import EditScores, KindScores
from zoo.world import edit_mask, thing_masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.regions_claims.settings import Numbers
    from models.protocols import Bools
    from zoo.world import Edit

GROUPS = ("small", "medium", "large", "whole")
"""Sizes of edits: of one thing, by its share of the image, and of most of the image."""
REGION_MEASURES = ("iou", "iou_thing", "iou_several", "wrong_object", "region_frac", "size_rank")


def group_of(edit: Edit, numbers: Numbers) -> str:
    """The size of an edit."""
    if edit.kind in WHOLE_KINDS:
        return "whole"
    share = float(edit_mask(edit).mean())
    return "small" if share < numbers.small_below else "medium" if share < numbers.large_from else "large"


def with_regions(scores: EditScores, edits: Sequence[Edit], masks: Sequence[Bools], numbers: Numbers) -> EditScores:
    """The scores, by size of the edit, with the measures of the masks."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    areas = []
    for edit, mask_HW in zip(edits, masks, strict=True):
        true_HW, group = edit_mask(edit, len(mask_HW)), group_of(edit, numbers)
        areas.append((float(mask_HW.mean()), float(true_HW.mean())))
        of_group = values[group]
        of_group["iou"].append(iou(mask_HW, true_HW))
        if group != "whole":
            of_group["region_frac"].append(areas[-1][0])
            of_group["iou_thing"].append(of_group["iou"][-1])
        if group != "whole" and len(edit.source.things) > 1:
            of_group["iou_several"].append(of_group["iou"][-1])
            of_group["wrong_object"].append(float(is_wrong(edit, mask_HW)))
    rank = size_rank(areas)
    return with_things(EditScores({group: _added(one, values[group], rank) for group, one in scores.kinds.items()}))


def with_things(scores: EditScores) -> EditScores:
    """The scores with `l1_thing`, which is `l1` of the edits of one thing alone."""
    return EditScores({
        group: one if group == "whole" else replace(
            one, mean={**one.mean, "l1_thing": one.mean["l1"]}, std={**one.std, "l1_thing": one.std["l1"]},
            num={**one.num, "l1_thing": one.num["l1"]},
        ) for group, one in scores.kinds.items()
    })  # fmt: skip


def iou(mask_HW: Bools, true_HW: Bools) -> float:
    """The intersection over the union; 0 where the mask is empty."""
    return float((mask_HW & true_HW).sum() / (mask_HW | true_HW).sum())


def is_wrong(edit: Edit, mask_HW: Bools) -> bool:
    """True where the mask covers a larger share of a thing that stays than of the one that changes."""
    covered = [float(mask_HW[thing_HW].mean()) for thing_HW in thing_masks(edit.source, len(mask_HW))]
    is_changed = [thing not in edit.target.things for thing in edit.source.things]
    own = max(share for share, changed in zip(covered, is_changed, strict=True) if changed)
    return max(share for share, changed in zip(covered, is_changed, strict=True) if not changed) > own


def size_rank(areas: Sequence[tuple[float, float]]) -> float:
    """Spearman's correlation of (mask, truth); 0 where all masks are of one size."""
    from scipy.stats import spearmanr

    found, true = np.array(areas).T
    return 0.0 if np.ptp(found) == 0 else float(spearmanr(found, true).statistic)


def _added(one: KindScores, values: dict[str, list[float]], rank: float) -> KindScores:
    """The scores with further ones; the rank is that of all edits."""
    return replace(
        one,
        mean={**one.mean, **{name: float(np.mean(found)) for name, found in values.items()}, "size_rank": rank},
        std={**one.std, **{name: float(np.std(found)) for name, found in values.items()}, "size_rank": 0.0},
        num={**one.num, **{name: len(found) for name, found in values.items()}, "size_rank": 1},
    )
