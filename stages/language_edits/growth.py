"""Grow a set of example edits: a language model writes more from those that there are, near-duplicates are left out.

Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), section 2.1: hundreds of instructions by people, expanded by the
        model. The rule for near-duplicates, and the balance of types, are chosen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from models.language.example_sets import ExampleEdit
from stages.language_edits.asking import SEED_BITS, Asking, WantedEdit, ask_for_edits, draw_types
from stages.language_edits.prompt import draw_shown
from stages.language_edits.words import normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from models.protocols import Floats, ImageTextEncoder, TextGenerator
    from stages.language_edits.schema import EditAnswer

COS_DECIMALS = 5
MOST_RAISED = 3.0
ID_DIGITS = 12
TEXTS_AT_ONCE = 1024

# N examples, D embedding


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthPlan:
    """How far a set grows. `shares` is type of edit -> weight."""

    asking: Asking
    shares: Mapping[str, float]
    target_size: int
    max_rounds: int
    captions_per_round: int
    num_instructions: int
    num_examples: int
    max_cos: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a grown example comes from. `seed` is that of the generator of its prompt and of its answers' seeds."""

    caption_id: str
    shown: tuple[str, ...]
    round: int
    seed: int


class Pool:
    """The examples so far, in order, and what tells whether another one is new."""

    def __init__(
        self, seeds: Sequence[ExampleEdit], encoder: ImageTextEncoder | None, size: int, max_cos: float
    ) -> None:
        self.edits = list(seeds)
        self.origins: dict[str, Origin] = {}
        self._instructions = {normalised(edit.instruction) for edit in seeds}
        self._encoder, self._max_cos = encoder, max_cos
        self._vectors_ND: Floats | None = None
        if encoder is not None:
            self._vectors_ND = np.zeros((max(size, len(seeds)), encoder.dim), np.float32)
            for start in range(0, len(seeds), TEXTS_AT_ONCE):
                texts = [edit.instruction for edit in seeds[start : start + TEXTS_AT_ONCE]]
                self._vectors_ND[start : start + len(texts)] = encoder.encode_texts(texts)

    def vectors(self, texts: Sequence[str]) -> list[Floats | None]:
        """The vector of each instruction, or None where there is no encoder."""
        if self._encoder is None or not texts:
            return [None] * len(texts)
        return list(self._encoder.encode_texts(texts))

    def add(self, edit: ExampleEdit, vector_D: Floats | None, origin: Origin) -> str | None:
        """Take the example in, or say why it is none."""
        words = normalised(edit.instruction)
        if words in self._instructions:
            return "the words of another one"
        if vector_D is not None and self._vectors_ND is not None:
            cos_N = (self._vectors_ND[: len(self.edits)] @ vector_D).round(COS_DECIMALS)
            if cos_N.max(initial=-1.0) > self._max_cos:
                return "near another one"
            self._vectors_ND[len(self.edits)] = vector_D
        self._instructions.add(words)
        self.edits.append(edit)
        self.origins[edit.id] = origin
        return None


def grow(
    pool: Pool,
    captions: Sequence[tuple[str, str]],
    plan: GrowthPlan,
    model: TextGenerator,
    rng_of: Callable[[str], Random],
    notes: Counter[str],
) -> None:
    """Add examples to the pool from (id, caption) in turn, until it is full or the rounds are spent."""
    for number in range(1, plan.max_rounds + 1):
        if len(pool.edits) >= plan.target_size or not captions:
            return
        notes["rounds of growth"] += 1
        start = (number - 1) * plan.captions_per_round
        chosen = [captions[(start + at) % len(captions)] for at in range(min(plan.captions_per_round, len(captions)))]
        wanted = list(_wanted(pool, chosen, number, plan, rng_of))
        ask_for_edits(model, [edit for edit, _ in wanted], plan.asking, notes)
        answered = [(edit, edit.answer, origin) for edit, origin in wanted if edit.answer is not None]
        vectors = pool.vectors([answer.instruction for _, answer, _ in answered])
        for (edit, answer, origin), vector_D in zip(answered, vectors, strict=True):
            if len(pool.edits) >= plan.target_size:
                break
            problem = pool.add(_example(edit, answer), vector_D, origin)
            notes["examples grown" if problem is None else f"examples left out: {problem}"] += 1


def _wanted(
    pool: Pool, captions: Sequence[tuple[str, str]], number: int, plan: GrowthPlan, rng_of: Callable[[str], Random]
) -> Iterator[tuple[WantedEdit, Origin]]:
    """An edit of each caption, of a type that is drawn."""
    shown_from = tuple(pool.edits)
    types = draw_types(_weights(pool, plan.shares), len(captions), rng_of(f"types/{number}"))
    for (caption_id, caption), edit_type in zip(captions, types, strict=True):
        seed = rng_of(f"{number}/{caption_id}").getrandbits(SEED_BITS)
        own = Random(seed)
        shown = draw_shown(shown_from, plan.num_instructions, plan.num_examples, own)
        origin = Origin(caption_id=caption_id, shown=shown.ids, round=number, seed=seed)
        yield WantedEdit(caption=caption, edit_type=edit_type, shown=shown, rng=own, siblings=[]), origin


def _weights(pool: Pool, shares: Mapping[str, float]) -> dict[str, float]:
    """The shares, raised for types that the pool lacks and lowered for others, each by `MOST_RAISED` at most.

    There is a bound so that a type of which no answer ever passes does not get all questions.
    """
    counts = Counter(edit.edit_type for edit in pool.edits)
    num_counted, total = sum(counts[name] for name in shares), sum(shares.values())
    expected = {name: num_counted * share / total for name, share in shares.items()}
    raised = {name: expected[name] / max(1, counts[name]) for name in shares}
    return {name: share * min(MOST_RAISED, max(1 / MOST_RAISED, raised[name])) for name, share in shares.items()}


def _example(edit: WantedEdit, answer: EditAnswer) -> ExampleEdit:
    """The answer as an example. Its id is that of its texts."""
    texts: dict[str, Any] = {
        "caption": edit.caption, "edit_type": edit.edit_type, "instruction": answer.instruction,
        "object": answer.object, "target_caption": answer.target_caption,
        "reverse_instruction": answer.reverse_instruction,
    }  # fmt: skip
    digest = hashlib.sha256("\n".join(texts.values()).encode()).hexdigest()
    return ExampleEdit(id=f"grown-{digest[:ID_DIGITS]}", **texts)
