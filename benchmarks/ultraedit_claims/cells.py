"""The cells of the benchmark: which pairs each training sees, how its editor is asked, and what the paper claims.

A cell is trained once a seed. An editor that takes regions is asked twice for the same edits: with none given, the
task `free-form`, and with the mask of the edit, the task `region`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmarks.claims.claims import Asked, Claim, compared
from benchmarks.claims.verdicts import Layout
from benchmarks.ultraedit_claims.settings import TAUGHT
from zoo.world import KINDS

if TYPE_CHECKING:
    from benchmarks.ultraedit_claims.settings import Numbers

Pool = Literal["anchors", "no-anchors", "region", "exact", "exact-region"]
"""Pairs drawn over anchors, without anchors, with a region; and exact pairs of the world, without regions and with."""
Task = Literal["free-form", "region"]


@dataclass(frozen=True, slots=True)
class Part:
    """So many pairs of one pool."""

    pool: Pool
    count: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One training. With `takes_region` its editor takes regions, and is asked for both tasks."""

    name: str
    parts: tuple[Part, ...]
    takes_region: bool = False

    @property
    def tasks(self) -> tuple[Task, ...]:
        """How its editor is asked."""
        return ("free-form", "region") if self.takes_region else ("free-form",)


def cells(numbers: Numbers) -> dict[str, Cell]:
    """All cells by name."""
    base, region = numbers.base_pairs, numbers.region_pairs
    found = [
        Cell(f"{pool}-{times}x", (Part(pool, times * base),))
        for pool in ("anchors", "no-anchors") for times in (1, 2, 4)
    ]  # fmt: skip
    found += [
        Cell("exact-4x", (Part("exact", 4 * base),)),
        Cell("free-form-alone", (Part("anchors", region),), takes_region=True),
        Cell("region-alone", (Part("region", region),), takes_region=True),
        Cell("mixed", (Part("anchors", region // 2), Part("region", region // 2)), takes_region=True),
        Cell("exact-mixed", (Part("exact", region // 2), Part("exact-region", region // 2)), takes_region=True),
    ]
    return {cell.name: cell for cell in found}


FOLLOWS = ("clip_direction", "read_back")
"""The paper's measure of its claims on anchors and on scale (table 5), and ours."""
NEARNESS = ("l1", "read_back")
"""One of the paper's measures of its claims on regions (table 4), and ours."""


def _free_form(cell: str) -> Asked:
    return Asked(cell, "free-form")


def _region(cell: str) -> Asked:
    return Asked(cell, "region")


_SIZES = ("1x", "2x", "4x")
CLAIMS = (
    Claim("pairs drawn over real images (anchors) teach more than pairs drawn from noise",
          compared("anchors against none, three sizes", FOLLOWS, tuple(_free_form(f"anchors-{s}") for s in _SIZES),
                    tuple(_free_form(f"no-anchors-{s}") for s in _SIZES))),
    Claim("more pairs teach more",
          compared("4x against 1x", FOLLOWS, (_free_form("anchors-4x"),), (_free_form("anchors-1x"),))),
    Claim("pairs with regions among free-form pairs help both tasks",
          (*compared("mixed against free-form alone, free-form", NEARNESS, (_free_form("mixed"),),
                      (_free_form("free-form-alone"),)),
           *compared("mixed against free-form alone, region", NEARNESS, (_region("mixed"),),
                      (_region("free-form-alone"),)),
           *compared("mixed against region alone, region", NEARNESS, (_region("mixed"),),
                      (_region("region-alone"),)))),
    Claim("a region given when editing helps",
          compared("given against none, mixed", NEARNESS, (_region("mixed"),), (_free_form("mixed"),))),
)  # fmt: skip
MEASURES = ("read_back", "l1", "l1_outside", "ssim_outside", "clip_direction", "clip_i")
LAYOUT = Layout(
    claims=CLAIMS, judged_on=TAUGHT, sections={"kinds of the datasets": TAUGHT, "all seven kinds": KINDS},
    measures=MEASURES,
)  # fmt: skip
"""The contents of the tables."""
