"""Unify instructions: the same edit in other words gets the same text, so that an editor sees one wording of it.

Source  InstructGIE (Meng et al. 2024), language instruction unification: a frozen language model rewrites each
        instruction. The prompt, the rules around the model and the check of its answers are chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from models.language.unification.answer_check import asks_the_same
from models.language.unification.prompts import first_line, unification_prompt
from models.language.unification.rules import LONGEST, unify_by_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import TextGenerator


class Unified(NamedTuple):
    """An instruction in canonical words, and who wrote it."""

    text: str
    writer: Literal["model", "rule"]


class Unifier:
    """Unifies by rules, and by a language model where one is given.

    The model is asked for the text that the rules made, once for each such text: it can merge wordings that rules keep
    apart, and never the other way round. Its answer passes the rules again, and is used where `asks_the_same`.
    """

    def __init__(self, model: TextGenerator | None = None, *, max_new_tokens: int = 40) -> None:
        self._model = model
        self._max_new_tokens = max_new_tokens
        self._results: dict[str, Unified] = {}

    def unify(self, instructions: Sequence[str]) -> list[Unified]:
        """One text an instruction, whatever the other instructions are; empty where it has no letter and no digit.

        With rules alone, unifying a result again changes nothing.
        """
        ruled = [unify_by_rule(instruction) for instruction in instructions]
        if self._model is None:
            return [Unified(text, "rule") for text in ruled]
        unknown = [text for text in dict.fromkeys(ruled) if text not in self._results]
        self._results |= dict(zip(unknown, self._ask(self._model, unknown), strict=True))
        return [self._results[text] for text in ruled]

    def _ask(self, model: TextGenerator, texts: Sequence[str]) -> list[Unified]:
        short = [text for text in texts if 0 < len(text) <= LONGEST]
        prompts = [unification_prompt(text) for text in short]
        answers = model.generate(prompts, max_new_tokens=self._max_new_tokens) if prompts else []
        answer_of = dict(zip(short, answers, strict=True))
        return [_checked(text, answer_of.get(text, "")) for text in texts]


def _checked(ruled: str, answer: str) -> Unified:
    written = unify_by_rule(first_line(answer))
    return Unified(written, "model") if asks_the_same(ruled, written) else Unified(ruled, "rule")
