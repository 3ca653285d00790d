"""Read the reply of a judge: three scores when it has exactly the form that was asked for, or else nothing.

A reply that does not fit is an abstention. It is never completed, guessed, averaged or replaced.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

from models.judges.prompt import MOST, QUESTIONS

REPLY_CHARS = 8000
"""Longest reply that is read and kept. Three reasons of a few sentences take a tenth of it."""
CUT = "…"
"""Ends a reply that was longer; no JSON object ends so."""
_FIELDS = frozenset(f"{name}_{part}" for name in QUESTIONS for part in ("reason", "score"))
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)


class JudgeScores(NamedTuple):
    """Whole numbers from 0 to 10."""

    instruction: int
    preservation: int
    quality: int

    @property
    def overall(self) -> float:
        """sqrt(min(instruction, preservation) * quality), 0 to 10, as VIEScore combines them.

        Ku et al. 2024, VIEScore, section 3: the lowest semantic score, then the geometric mean with the quality. So an
        edit that fails in one of them does not pass by the others.
        """
        return math.sqrt(min(self.instruction, self.preservation) * self.quality)


def bounded(text: str) -> str:
    """The text as it is kept: at most `REPLY_CHARS` characters that UTF-8 can hold."""
    kept = text if len(text) <= REPLY_CHARS else text[: REPLY_CHARS - len(CUT)] + CUT
    return kept.encode("utf-8", "replace").decode()


def read_scores(text: str) -> JudgeScores | None:
    """The scores in a kept reply, or None where it is anything but one JSON object of the schema.

    White space around the object is allowed, and so is one Markdown code fence that encloses all of it: both are
    wrapping, and leave no doubt about which object is meant. Any other text beside the object is not: the text may
    take it back. A number with a decimal point, a further field and a field that occurs twice do not fit either.
    """
    fenced = _FENCE.fullmatch(text.strip())
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != _FIELDS:
        return None
    if not all(isinstance(found[f"{name}_reason"], str) for name in QUESTIONS):
        return None
    scores = [found[f"{name}_score"] for name in QUESTIONS]
    if not all(type(score) is int and 0 <= score <= MOST for score in scores):  # `True` is an int, too
        return None
    return JudgeScores(*scores)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field occurs twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
