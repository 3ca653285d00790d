"""Rounds of asking: all edits of a batch in one call, then those whose answers failed, until each is kept or given up.

An edit draws its seeds from a generator of its own, so its answers depend on no other row of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stages.language_edits.checks import faults_of
from stages.language_edits.judged import EditFault, Judged, Lengths
from stages.language_edits.prompt import Shown, write_prompt
from stages.language_edits.repair import repair_prompt
from stages.language_edits.schema import EditAnswer, answer_schema, parse_answer

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from models.protocols import TextGenerator

ANSWERS = "edit answers"
"""Note of the number of answers; `edit answers: <fault>` is that of those with a fault, which may have several."""
SEED_BITS = 32


class Seeded(Protocol):
    """What draws the seeds of its answers from a generator of its own."""

    @property
    def rng(self) -> random.Random:
        """The generator."""
        ...


W = TypeVar("W", bound=Seeded)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """How answers are asked for. A faulty answer is repaired while repairs are left, then asked for anew."""

    max_new_tokens: int
    temperature: float
    max_retries: int
    max_repairs: int
    lengths: Lengths
    edit_types: tuple[str, ...]
    """Types that an answer may have."""
    repeats_caption: bool
    """The answer has the caption first."""


@dataclass(kw_only=True)
class WantedEdit:
    """An edit to be written: what is asked, and what came of it. `siblings` are the parent's edits that were kept."""

    caption: str
    edit_type: str
    shown: Shown
    rng: random.Random
    siblings: list[EditAnswer]
    answer: EditAnswer | None = None
    faults: list[EditFault] = field(default_factory=list)
    """The first fault of each answer that failed."""
    last_text: str = ""
    num_retries: int = 0
    num_repairs: int = 0

    repair: str = ""
    """The question of the next round where it repairs an answer."""


def ask_for_edits(model: TextGenerator, wanted: Sequence[WantedEdit], asking: Asking, notes: Counter[str]) -> None:
    """Fill in the answer of each wanted edit that gets one, one call of the model a round."""
    ask_in_rounds(
        model,
        wanted,
        lambda edit: edit.repair or _first_prompt(edit, asking),
        lambda edit, text: _take(edit, text, asking, notes),
        schema=answer_schema(asking.edit_types, repeats_caption=asking.repeats_caption),
        asking=asking,
    )


def ask_in_rounds(
    model: TextGenerator,
    wanted: Sequence[W],
    prompt_of: Callable[[W], str],
    take: Callable[[W, str], bool],
    *,
    schema: Mapping[str, Any],
    asking: Asking,
) -> None:
    """Ask for all that is wanted in one call, then again for that of which `take` says True, until nothing is left."""
    left = list(wanted)
    while left:
        texts = model.generate(
            list(map(prompt_of, left)),
            max_new_tokens=asking.max_new_tokens,
            json_schema=schema,
            temperature=asking.temperature,
            seeds=[one.rng.getrandbits(SEED_BITS) for one in left],
        )
        tried = [(one, take(one, text)) for one, text in zip(left, texts, strict=True)]
        left = [one for one, goes_on in tried if goes_on]


def _first_prompt(edit: WantedEdit, asking: Asking) -> str:
    return write_prompt(
        edit.shown,
        edit.caption,
        edit.edit_type,
        edit_types=asking.edit_types,
        repeats_caption=asking.repeats_caption,
    )


def _take(edit: WantedEdit, text: str, asking: Asking, notes: Counter[str]) -> bool:
    """Judge an answer and keep it or set the next prompt. True where the edit is to be asked for once more."""
    answer = parse_answer(text)
    faults = [EditFault.UNPARSABLE] if answer is None else _faults(edit, answer, asking.lengths)
    notes[ANSWERS] += 1
    notes.update(f"{ANSWERS}: {fault.value}" for fault in faults)
    if not faults:
        edit.answer = answer
        edit.siblings.append(answer)  # type: ignore[arg-type]  # without faults there is an answer
        return False
    edit.faults.append(faults[0])
    edit.last_text = text
    if answer is not None and edit.num_repairs < asking.max_repairs:
        edit.num_repairs += 1
        edit.repair = repair_prompt(_first_prompt(edit, asking), edit.caption, edit.edit_type, answer, faults)
        return True
    edit.num_retries += 1
    edit.repair = ""
    return edit.num_retries <= asking.max_retries


def _faults(edit: WantedEdit, answer: EditAnswer, lengths: Lengths) -> list[EditFault]:
    return faults_of(
        Judged(
            caption=edit.caption,
            edit_type=edit.edit_type,
            answer=answer,
            lengths=lengths,
            shown_instructions=edit.shown.shown_instructions,
            shown_targets=edit.shown.shown_targets,
            earlier=tuple(edit.siblings),
        )
    )


def draw_types(shares: Mapping[str, float], number: int, rng: random.Random) -> list[str]:
    """Types of edit for one caption, drawn so that each is expected `number` times its share.

    Systematic sampling over the types in random order: a type whose share is below 1 / number comes at most once.
    """
    names = sorted(name for name, weight in shares.items() if weight > 0)
    rng.shuffle(names)
    total, start = sum(shares[name] for name in names), rng.random()
    marks = [(start + index) * total / number for index in range(number)]
    drawn: list[str] = []
    reached = 0.0
    for name in names:
        reached += shares[name]
        drawn += [name] * (sum(mark < reached for mark in marks) - len(drawn))
    return drawn + [names[-1]] * (number - len(drawn))  # where rounding left the last mark at the end
