"""Calibrate a score: every threshold for all edits and for each edit type, and the threshold that a rule suggests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.errors import UsageError
from evaluation.calibration.agreement import Agreement, agreements, area_under_curve
from evaluation.calibration.scored_rows import UNTYPED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.calibration.scored_rows import Scored

OVERALL = "all"
"""Name of the section of all edits."""
MIN_ROWS = 20
"""A type with fewer rows, or labels where the rule goes by labels, has no bound of its own: it would be chance."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

RuleName = Literal["keep_rate", "precision", "kappa"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a threshold is chosen.

    `keep_rate`: the highest that keeps at least the share `goal` of the rows. `precision`: the lowest at which at least
    the share `goal` of the kept labelled rows is good. `kappa`: the one that agrees best with the labels, better than
    by chance.
    """

    name: RuleName
    goal: float = 0.0

    def choose(self, points: Sequence[Agreement]) -> Agreement | None:
        """The point that the rule takes, or None where none fits."""
        if self.name == "keep_rate":
            return next((one for one in reversed(points) if one.keep_rate >= self.goal), None)
        if self.name == "precision":
            return next((one for one in points if one.precision is not None and one.precision >= self.goal), None)
        best = max(points, key=lambda one: one.kappa or 0.0, default=None)
        return best if best is not None and (best.kappa or 0.0) > 0 else None

    def num_used(self, point: Agreement) -> int:
        """Rows that the choice rests on."""
        return point.num_rows if self.name == "keep_rate" else point.num_labelled


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """The calibration of all edits, or of one type."""

    name: str
    num_rows: int
    num_abstained: int
    num_labelled: int
    area_under_curve: float | None
    points: list[Agreement]
    suggested: Agreement | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """All sections of one score, that of all edits first, and how labels were met."""

    score: str
    sections: list[Section]
    rule: Rule | None
    num_unknown_labels: int
    """Labels of samples that the table does not have."""
    left_out: dict[str, int]
    """Stage -> its rejects in the dataset that do not say their score."""

    def notes(self) -> list[str]:
        """Sentences on what was not counted, and on a rule that suggests nothing."""
        lines = []
        if self.num_unknown_labels:
            lines.append(f"{self.num_unknown_labels} labels are of samples that the table does not have.")
        if self.left_out:
            counts = ", ".join(f"{stage} {count}" for stage, count in self.left_out.items())
            lines.append(f"Rejects that do not say their {self.score} are not counted: {counts}.")
        if self.rule is None:
            lines.append("No threshold is suggested: no rule was given.")
        elif not self.bounds():
            by_chance = "agrees with the labels better than chance does"
            aim = by_chance if self.rule.name == "kappa" else f"reaches {self.rule.name} {self.rule.goal:g}"
            lines.append(f"No threshold is suggested: none {aim}.")
        return lines

    def bounds(self) -> list[str]:
        """Lines for the stage `select` of a manifest, empty where no threshold is suggested."""
        lines = []
        for number, one in enumerate(self.sections):
            if one.suggested is not None and (number == 0 or one.name != UNTYPED):
                place = "bounds" if number == 0 else f"bounds_by_edit_type.{_key(one.name)}"
                lines.append(f"{place}.{self.score} = {_bound(one.suggested)}")
        return lines


def calibrate(scored: Scored, score: str, labels: Mapping[str, bool], rule: Rule | None) -> Calibration:
    """Every threshold of the score. Without labels only what each keeps.

    Raises UsageError where a rule needs labels and no row has one.
    """
    is_labelled_N = np.array([one in labels for one in scored.ids], bool)
    is_good_N = np.array([labels.get(one, False) for one in scored.ids], bool)
    if rule is not None and rule.name != "keep_rate" and not is_labelled_N.any():
        raise UsageError(f"a threshold by {rule.name} needs labels of these samples; give --labels, or --keep-rate")
    types = np.array(scored.edit_types)
    names = [OVERALL, *sorted(set(scored.edit_types))]
    sections: list[Section] = []
    for name in names if len(names) > 2 else names[:1]:  # one type only is all
        rows = np.ones(len(types), bool) if name == OVERALL and not sections else types == name
        score_N, labelled, good = scored.score_N[rows], is_labelled_N[rows], is_good_N[rows]
        points = agreements(score_N, labelled, good)
        found = None if rule is None else rule.choose(points)
        is_enough = found is not None and rule is not None and (not sections or rule.num_used(found) >= MIN_ROWS)
        sections.append(
            Section(
                name=name, num_rows=len(score_N), num_abstained=int(np.isnan(score_N).sum()),
                num_labelled=int(labelled.sum()), points=points, suggested=found if is_enough else None,
                area_under_curve=area_under_curve(score_N[labelled & good], score_N[labelled & ~good]),
            )
        )  # fmt: skip
    unknown = len(labels.keys() - set(scored.ids))
    return Calibration(score=score, sections=sections, rule=rule, num_unknown_labels=unknown, left_out=scored.left_out)


def _key(name: str) -> str:
    """The name as a key of TOML, in whose texts a DEL is escaped too, unlike in JSON's."""
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def _bound(point: Agreement) -> str:
    """The bound as TOML. `select` compares in single precision, so its shortest text is enough."""
    return f"{{ min = {np.float32(point.threshold)!s} }}"
