"""The cells of the benchmark: trained heads, and ways to mask without one; what the paper claims.

A cell is trained once a seed, if it is trained at all. Its masks are compared with the true ones, and a generator
repaints them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.claims.claims import Asked, Claim, Comparison, compared
from benchmarks.claims.verdicts import Layout
from benchmarks.regions_claims.measures import GROUPS, REGION_MEASURES

if TYPE_CHECKING:
    from benchmarks.regions_claims.settings import Numbers

Way = Literal["trained", "whole", "phrase", "boxes", "pix2pix"]
"""How edits are masked: by a trained head; the whole image; by CLIPSeg, or by Grounding DINO and SAM, which are given
the phrase that changes; or not at all, by an editor that was trained on pairs."""

EDITS, BY_OTHER = "edits", "edits by another generator"
MEASURES = (*REGION_MEASURES, "read_back", "l1", "l1_thing", "ssim_outside", "clip_direction")


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to edit. `settings` are of the recipe, beyond those of all; `num_edits` None for all of a seed."""

    name: str
    way: Way = "trained"
    settings: dict[str, Any] = field(default_factory=dict)
    num_edits: int | None = None
    tasks: tuple[str, ...] = (EDITS,)


def cells(numbers: Numbers) -> dict[str, Cell]:
    """All cells by name."""
    found = [
        Cell("full", tasks=(EDITS, BY_OTHER)),
        Cell("without-clip", settings={"lambda_global": 0.0, "lambda_direction": 0.0, "lambda_structure": 0.0}),
        Cell("whole-image", "whole", tasks=(EDITS, BY_OTHER)),
        Cell("clipseg", "phrase"),
        Cell("boxes", "boxes"),
        Cell("ip2p", "pix2pix"),
        Cell("without-semantic", settings={"lambda_original": 0.0, "lambda_edited": 0.0}),
        Cell("fewer-edits", num_edits=numbers.fewer_edits),
        Cell("without-noise", settings={"noise_scale": 0.0}),
    ]
    return {cell.name: cell for cell in found}


def _asked(cell: str, task: str = EDITS) -> tuple[Asked]:
    return (Asked(cell, task),)


def _against(other: str, measures: tuple[str, ...], task: str = EDITS) -> tuple[Comparison, ...]:
    return compared(f"full against {other}", measures, _asked("full", task), _asked(other, task))


FOLLOWING = ("read_back", "clip_direction")
CLAIMS = (
    Claim("it edits where the instruction says, and keeps the rest (against repainting the whole image)",
          _against("whole-image", ("iou_thing", "l1_thing", "ssim_outside"))),
    Claim("(not of the paper) it follows the instruction as often as repainting the whole image does",
          _against("whole-image", FOLLOWING)),
    Claim("its region adapts to the size of the edit (against a head that L_CLIP did not train)",
          _against("without-clip", ("size_rank",))),
    Claim("without L_semAlign it chooses the wrong object among several",
          _against("without-semantic", ("wrong_object", "iou_several"))),
    Claim("without L_CLIP the region is too large", _against("without-clip", ("region_frac", "iou_thing"))),
    Claim("more data make it better (a quarter of the edits)", _against("fewer-edits", ("iou", *FOLLOWING))),
    Claim("it edits with another generator without retraining (against the whole image, repainted by that one)",
          _against("whole-image", ("l1_thing", "ssim_outside"), BY_OTHER)),
    Claim("it edits as well as an editor that was trained on pairs (zoo:ip2p)",
          _against("ip2p", (*FOLLOWING, "ssim_outside"))),
    Claim("(not of the paper) its masks are as good as CLIPSeg's, which is given the phrase and was trained on masks",
          _against("clipseg", ("iou", "read_back"))),
    Claim("(not of the paper) its masks are as good as those of Grounding DINO and SAM, given the phrase",
          _against("boxes", ("iou", "read_back"))),
    Claim("(not of the paper) noise on the region in training helps", _against("without-noise", ("iou",))),
)  # fmt: skip
SECTIONS = {f"{group} edits": (group,) for group in GROUPS}
LAYOUT = Layout(
    claims=CLAIMS, judged_on=GROUPS, sections={"all held-out edits": GROUPS, **SECTIONS}, measures=MEASURES
)  # fmt: skip
"""The contents of the tables."""
