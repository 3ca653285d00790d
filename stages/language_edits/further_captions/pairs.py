"""An edit whose instruction is to hold for several captions, and the checks of each further pair of captions.

Source  Meng et al. 2024, InstructGIE (arXiv 2403.05018): an instruction is written together with several pairs of
        captions, from which the images are drawn. How a pair is checked is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from stages.language_edits.checks import faults_of, is_in_another_language
from stages.language_edits.judged import EditFault, Judged, Lengths
from stages.language_edits.words import content, words

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Sequence

    from stages.language_edits.schema import EditAnswer

ASKED = "further pairs asked"
"""Note of the number of pairs that were asked for or varied; `further pairs asked: <fault>` of those with a fault."""
KEPT = "further pairs kept"
ALONE = "edits without a further pair"


class PairFault(StrEnum):
    """Why a further pair is none to keep, beside the faults of any edit."""

    SAME_CAPTION = "same_caption"
    ALREADY_EDITED = "already_edited"


@dataclass(frozen=True, slots=True)
class CaptionPair:
    """A caption and its edit. All pairs of an instruction have it in the same words."""

    caption: str
    answer: EditAnswer


@dataclass(kw_only=True)
class SharedEdit:
    """An edit that was kept, the generator for its further pairs, and those that were found, `wanted` at most."""

    own: CaptionPair
    wanted: int
    rng: random.Random
    further: list[CaptionPair] = field(default_factory=list)

    @property
    def pairs(self) -> tuple[CaptionPair, ...]:
        """All pairs so far, the caption's own one first."""
        return (self.own, *self.further)


def judge(edit: SharedEdit, judged: Judged) -> list[EditFault | PairFault]:
    """All faults of an answer as a further pair of that edit."""
    found: list[EditFault | PairFault] = []
    named = _things(judged.caption)
    if any(named == _things(pair.caption) for pair in edit.pairs):
        found.append(PairFault.SAME_CAPTION)
    elif any(named == _things(pair.answer.target_caption) for pair in edit.pairs):
        found.append(PairFault.ALREADY_EDITED)
    faults = faults_of(judged)
    if EditFault.WRONG_LENGTH not in faults and not _fits(judged.caption, judged.lengths):
        faults.insert(0, EditFault.WRONG_LENGTH)
    if EditFault.OTHER_LANGUAGE not in faults and _is_foreign(edit, judged):
        faults.insert(0, EditFault.OTHER_LANGUAGE)
    return [*found, *faults]


def take(edit: SharedEdit, pair: CaptionPair | None, faults: Sequence[StrEnum], notes: Counter[str]) -> None:
    """Keep the pair where it has no fault, and count it."""
    notes[ASKED] += 1
    notes.update(f"{ASKED}: {fault.value}" for fault in faults)
    if pair is not None and not faults:
        edit.further.append(pair)
        notes[KEPT] += 1


def _things(caption: str) -> list[str]:
    """What a caption names, in no order: two captions of the same things show the same scene."""
    return sorted(content(caption))


def _fits(caption: str, bounds: Lengths) -> bool:
    return bounds.min_caption <= len(words(caption)) <= bounds.max_caption


def _is_foreign(edit: SharedEdit, judged: Judged) -> bool:
    """The further caption has other letters than the own one. The answer's other texts are judged by themselves."""
    answer = replace(judged.answer, target_caption=judged.caption)
    return is_in_another_language(replace(judged, caption=edit.own.caption, answer=answer))
