"""The cells of the benchmark: which pairs each training sees, how its editor is asked, and what the paper claims.

A cell is trained once a seed. An editor that takes regions is asked twice for the same edits: with none given, the
task `free-form`, and with the mask of the edit, the task `region`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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


@dataclass(frozen=True, slots=True)
class Asked:
    """A cell's editor at one task: a row of the table."""

    cell: str
    task: Task = "free-form"

    @property
    def name(self) -> str:
        """As tables name it."""
        return f"{self.cell}, {self.task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The paper has more (`is_up`) or less of `measure` in `better` than in `worse`, as means over these rows."""

    text: str
    measure: str
    better: tuple[Asked, ...]
    worse: tuple[Asked, ...]

    @property
    def is_up(self) -> bool:
        """True where more is better."""
        return not self.measure.startswith("l1")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the paper, and the comparisons that judge it."""

    text: str
    comparisons: tuple[Comparison, ...]


def _compared(
    text: str, measures: tuple[str, ...], better: tuple[Asked, ...], worse: tuple[Asked, ...]
) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(text=f"{text}: {measure}", measure=measure, better=better, worse=worse) for measure in measures
    )


FOLLOWS = ("clip_direction", "read_back")
"""The paper's measure of its claims on anchors and on scale (table 5), and ours."""
NEARNESS = ("l1", "read_back")
"""One of the paper's measures of its claims on regions (table 4), and ours."""
_SIZES = ("1x", "2x", "4x")
CLAIMS = (
    Claim("pairs drawn over real images (anchors) teach more than pairs drawn from noise",
          _compared("anchors against none, three sizes", FOLLOWS, tuple(Asked(f"anchors-{s}") for s in _SIZES),
                    tuple(Asked(f"no-anchors-{s}") for s in _SIZES))),
    Claim("more pairs teach more",
          _compared("4x against 1x", FOLLOWS, (Asked("anchors-4x"),), (Asked("anchors-1x"),))),
    Claim("pairs with regions among free-form pairs help both tasks",
          (*_compared("mixed against free-form alone, free-form", NEARNESS, (Asked("mixed"),),
                      (Asked("free-form-alone"),)),
           *_compared("mixed against free-form alone, region", NEARNESS, (Asked("mixed", "region"),),
                      (Asked("free-form-alone", "region"),)),
           *_compared("mixed against region alone, region", NEARNESS, (Asked("mixed", "region"),),
                      (Asked("region-alone", "region"),)))),
    Claim("a region given when editing helps",
          _compared("given against none, mixed", NEARNESS, (Asked("mixed", "region"),), (Asked("mixed"),))),
)  # fmt: skip
