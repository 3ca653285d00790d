"""The cells of the benchmark: the full method, each of its parts removed, InstructPix2Pix without examples, and SDEdit.

A cell is trained once a seed; SDEdit is not trained. The editor of each cell is asked for edits whose instruction was
in the data, for edits of other instructions, and for the same edits in five wordings. The paper's numbers are those of
evaluation/published/instructgie.toml, which are second hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.claims.claims import Asked, Claim, Comparison, compared
from benchmarks.claims.verdicts import Layout
from zoo.evaluation.edits import MEASURES
from zoo.visual_prompts import SHARED_KINDS
from zoo.write_visual_prompts import TASKS

if TYPE_CHECKING:
    from benchmarks.instructgie_claims.settings import Numbers
    from benchmarks.instructgie_claims.start import StartName

IN_DOMAIN, OUT_OF_DOMAIN, PARAPHRASES = TASKS
SDEDIT = "sdedit"
FURTHER_MEASURES = ("fid", "l1_selective", "spread_l1")
"""Measures of this benchmark alone (`measures`)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training by a recipe, with `settings` beyond those of all. `recipe` is empty where zoo:sd serves as it is."""

    name: str
    recipe: str
    start: StartName = "grids"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """How its editor is asked."""
        return TASKS


def cells(numbers: Numbers) -> dict[str, Cell]:  # noqa: ARG001  the same for all numbers
    """All cells by name."""
    found = [
        Cell("full", "instructgie"),
        Cell("without-vmamba", "instructgie", settings={"hint_encoder": "conv", "zero_layers": "conv"}),
        Cell("without-shift", "instructgie", settings={"lambda_shift": 0.0}),
        Cell("without-unification", "instructgie", settings={"unified": False}),
        Cell("without-selective", "instructgie", settings={"lambda_selective": 0.0}),
        Cell("ip2p", "ip2p", "scenes"),
        Cell(SDEDIT, ""),
    ]
    return {cell.name: cell for cell in found}


QUALITY, FOLLOWING = ("fid", "l1"), ("clip_direction", "read_back")
"""The paper's two measures, FID and CLIP direction, and beside each the same measured against the known true result."""


def _asked(cell: str, task: str) -> tuple[Asked]:
    return (Asked(cell, task),)


def _against(other: str, measures: tuple[str, ...], tasks: tuple[str, ...] = (IN_DOMAIN, OUT_OF_DOMAIN)) -> Any:
    return tuple(
        one for task in tasks
        for one in compared(f"full against {other}, {task}", measures, _asked("full", task), _asked(other, task))
    )  # fmt: skip


def _holds(cell: str) -> tuple[Comparison, ...]:
    """Instructions that were not trained on against those that were: not worse by more than a margin."""
    return tuple(
        Comparison(text=f"{cell}, out-of-domain against in-domain: {measure}", measure=measure, margin=margin,
                   better=_asked(cell, OUT_OF_DOMAIN), worse=_asked(cell, IN_DOMAIN))
        for measure, margin in (("clip_direction", 0.05), ("read_back", 0.05))
    )  # fmt: skip


CLAIMS = (
    Claim("it edits better than InstructPix2Pix (FID 7.57 against 17.87, direction .27 against .17)",
          _against("ip2p", (*QUALITY, *FOLLOWING))),
    Claim("it edits better than SDEdit (FID 21.67, direction .11)", _against(SDEDIT, (*QUALITY, *FOLLOWING))),
    Claim("it generalises: it follows instructions that it has not seen about as well as those that it has",
          _holds("full")),
    Claim("(not of the paper) InstructPix2Pix does so without examples", _holds("ip2p")),
    Claim("VMamba blocks help (FID 10.15 and direction .13 without them)",
          _against("without-vmamba", (*QUALITY, *FOLLOWING))),
    Claim("editing-shift matching helps (FID 9.23 and direction .15 without it)",
          _against("without-shift", (*QUALITY, *FOLLOWING))),
    Claim("language unification helps (FID 10.37 without it)", _against("without-unification", QUALITY)),
    Claim("language unification makes edits of one meaning alike",
          _against("without-unification", ("spread_l1", "read_back"), (PARAPHRASES,))),
    Claim("selective-area matching helps (FID 11.31 without it)", _against("without-selective", QUALITY)),
    Claim("selective-area matching improves details inside the areas",
          _against("without-selective", ("l1_selective",))),
)  # fmt: skip
LAYOUT = Layout(
    claims=CLAIMS, judged_on=SHARED_KINDS, sections={"held-out edits": SHARED_KINDS},
    measures=(*MEASURES, *FURTHER_MEASURES),
)  # fmt: skip
"""The contents of the tables."""
