"""The prompt for one edit of one caption, with sampled instructions and whole examples in context.

The last lines are always the same three: caption, type of edit, the beginning of the answer. Without instructions and
examples they are all of the prompt, which is what a model trained on this task reads.
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), appendix A.2: 50 sampled instructions, 10 sampled examples, an
        instruction distinct from the samples, a caption changed as little as possible. The words are our own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from stages.language_edits.edit_kinds import kind_of
from stages.language_edits.schema import CAPTION, FIELDS
from stages.language_edits.words import normalised

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from models.language.example_sets import ExampleEdit

ASK = "Caption: {caption}\nEdit type: {edit_type}\nEdit as JSON: "
INTRODUCTION = (
    "You write requests to edit photographs. You do not see the photograph: its caption is all that you know of it. "
    "For each caption you write one edit as a JSON object: edit_type as asked for; instruction, a short request in "
    "plain English; object, the thing that the edit is about; target_caption, the caption of the edited photograph; "
    "reverse_instruction, the request that turns the edited photograph back."
)
RULES = (
    "Rules: the edit suits the photograph and can be seen in it. The instruction names only things that the caption "
    "says, or that the edit adds. The target caption repeats the caption word by word and changes only what the "
    "instruction asks for. The reverse instruction says nothing of the photograph that the caption does not say: where "
    "the caption gives no colour, it does not name the colour from before. The instruction differs from all those "
    "shown here."
)


@dataclass(frozen=True)
class Shown:
    """What a prompt shows before it asks: instructions, and whole examples."""

    instructions: tuple[str, ...] = ()
    examples: tuple[ExampleEdit, ...] = ()
    ids: tuple[str, ...] = ()
    """Ids of all edits that are shown, those of whole examples first."""

    @cached_property
    def shown_instructions(self) -> frozenset[str]:
        """All instructions that the prompt shows, as they are compared."""
        return frozenset(map(normalised, (*self.instructions, *(example.instruction for example in self.examples))))

    @cached_property
    def shown_targets(self) -> frozenset[str]:
        """All target captions that the prompt shows, as they are compared."""
        return frozenset(normalised(example.target_caption) for example in self.examples)


def draw_shown(edits: Sequence[ExampleEdit], num_instructions: int, num_examples: int, rng: random.Random) -> Shown:
    """Instructions and whole examples drawn from the edits, no edit in both; of a small set, all that there are."""
    drawn = rng.sample(edits, min(len(edits), num_instructions + num_examples))
    instructions = tuple(edit.instruction for edit in drawn[num_examples:])
    return Shown(instructions, tuple(drawn[:num_examples]), tuple(edit.id for edit in drawn))


def write_prompt(
    shown: Shown, caption: str, edit_type: str, *, edit_types: Sequence[str] = (), repeats_caption: bool = False
) -> str:
    """The prompt for an edit of that type of a caption. `edit_types` are those whose meaning is given."""
    asked = ASK.format(caption=" ".join(caption.split()), edit_type=edit_type)
    if not shown.instructions and not shown.examples:
        return asked
    parts = [INTRODUCTION, _meanings(edit_types)]
    if shown.instructions:
        parts.append("\n".join(["Instructions that others wrote:", *(f"- {one}" for one in shown.instructions)]))
    parts += [RULES, *(_example(example, repeats_caption=repeats_caption) for example in shown.examples)]
    return "\n\n".join([*(part for part in parts if part), asked])


def _meanings(edit_types: Sequence[str]) -> str:
    lines = [f"- {name}: {kind_of(name).meaning}" for name in edit_types if kind_of(name).meaning]
    return "\n".join(["Types of edit:", *lines]) if lines else ""


def _example(example: ExampleEdit, *, repeats_caption: bool) -> str:
    names = (CAPTION, *FIELDS) if repeats_caption else FIELDS
    answer = json.dumps({name: getattr(example, name) for name in names}, ensure_ascii=False)
    return ASK.format(caption=example.caption, edit_type=example.edit_type) + answer
