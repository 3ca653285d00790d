"""The cells of the benchmark: what each training reads and minimises, how its editor is asked, what the paper claims.

A cell is trained once a seed. Its editor makes single edits and sessions of several turns; some editors are also asked
with few steps and many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.claims.claims import Asked, Claim, Comparison, compared
from benchmarks.claims.verdicts import Layout
from benchmarks.uip2p_claims.settings import TAUGHT
from zoo.evaluation.edits import MEASURES
from zoo.evaluation.sessions import SESSION

if TYPE_CHECKING:
    from benchmarks.uip2p_claims.settings import Numbers

Data = Literal["no-targets", "drawn", "exact"]
"""The same edits without target images; as pairs drawn by prompt-to-prompt from their captions; with true targets."""

SINGLE, SESSIONS = "single edits", "sessions"
STEPS = (5, 15, 50)
"""Numbers of steps that are compared: those of the paper's figure."""


def of_steps(number: int) -> str:
    """The task of single edits in that many steps."""
    return f"{number} steps"


@dataclass(frozen=True, slots=True)
class Cell:
    """One training by a recipe, with `settings` beyond those of all. `compares_steps`: its editor is asked more."""

    name: str
    recipe: str
    data: Data
    settings: dict[str, Any] = field(default_factory=dict)
    compares_steps: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """How its editor is asked."""
        return (SINGLE, SESSIONS, *(map(of_steps, STEPS) if self.compares_steps else ()))


def cells(numbers: Numbers) -> dict[str, Cell]:  # noqa: ARG001  the same for all numbers
    """All cells by name."""
    found = [
        Cell("base", "uip2p", "no-targets", {"lambda_sim": 0.0, "lambda_attn": 0.0}),
        Cell("base-sim", "uip2p", "no-targets", {"lambda_attn": 0.0}),
        Cell("uip2p", "uip2p", "no-targets", compares_steps=True),
        Cell("uip2p-identity", "uip2p", "no-targets", {"identity_loss": True}),
        Cell("uip2p-clean", "uip2p", "no-targets", {"clean_cycle_condition": True}),
        Cell("ip2p-drawn", "ip2p", "drawn"),
        Cell("ip2p-exact", "ip2p", "exact", compares_steps=True),
    ]
    return {cell.name: cell for cell in found}


NEARNESS = ("l1", "clip_t", "read_back")
"""The paper's measure of its ablation, one that shows copies (a falling l1 alone may be copying), and ours."""


def _asked(cell: str, task: str = SINGLE) -> tuple[Asked]:
    return (Asked(cell, task),)


def _holds(cell: str) -> tuple[Comparison, ...]:
    """Few steps against many, of one editor: not worse by more than a margin."""
    return tuple(
        Comparison(text=f"5 against 50 steps, {cell}: {measure}", measure=measure, margin=margin,
                   better=_asked(cell, of_steps(5)), worse=_asked(cell, of_steps(50)))
        for measure, margin in (("l1", 0.005), ("read_back", 0.03))
    )  # fmt: skip


CLAIMS = (
    Claim("L_sim brings edits nearer to the truth", compared("base-sim against base", NEARNESS, _asked("base-sim"),
                                                             _asked("base"))),
    Claim("L_attn brings them nearer still", compared("uip2p against base-sim", NEARNESS, _asked("uip2p"),
                                               _asked("base-sim"))),
    Claim("without targets it edits better than InstructPix2Pix on pairs drawn by prompt-to-prompt",
          (*compared("uip2p against ip2p-drawn, single", NEARNESS, _asked("uip2p"), _asked("ip2p-drawn")),
           *compared("uip2p against ip2p-drawn, sessions", NEARNESS, _asked("uip2p", SESSIONS),
                     _asked("ip2p-drawn", SESSIONS)))),
    Claim("five steps are enough (l1 at most 0.005 more, read back at most 0.03 less, than with 50)",
          _holds("uip2p")),
    Claim("(not of the paper) it edits as well as InstructPix2Pix on exact pairs",
          compared("uip2p against ip2p-exact", NEARNESS, _asked("uip2p"), _asked("ip2p-exact"))),
    Claim("(not of the paper) five steps are enough for InstructPix2Pix on exact pairs too", _holds("ip2p-exact")),
    Claim("(of its successor) an identity loss helps",
          compared("uip2p-identity against uip2p", NEARNESS, _asked("uip2p-identity"), _asked("uip2p"))),
    Claim("(of its successor) a clean condition of the reverse pass helps",
          compared("uip2p-clean against uip2p", NEARNESS, _asked("uip2p-clean"), _asked("uip2p"))),
)  # fmt: skip
LAYOUT = Layout(
    claims=CLAIMS, judged_on=(*TAUGHT, SESSION), sections={"held-out edits": (*TAUGHT, SESSION)}, measures=MEASURES
)
"""The contents of the tables."""
