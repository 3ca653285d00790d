"""Whether a text edit makes sense in the world: what changed between two captions, and whether the wording says so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from zoo.world.captions import Facts, read_facts, read_position
from zoo.world.edits import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("edit_type", "instruction", "object", "target_caption", "reverse_instruction")
_PLAIN = ("normal", "plain")


class _Change(NamedTuple):
    """Things that went and came, as (colour, noun)."""

    gone: list[tuple[str, str]]
    come: list[tuple[str, str]]


def fault_of(source_caption: str, edit: Mapping[str, object]) -> str | None:
    """Why `edit` (the fields of `FIELDS`) is no consistent edit of `source_caption`, or None when it is one."""
    if set(edit) != set(FIELDS) or not all(isinstance(value, str) and value for value in edit.values()):
        return "fields"
    kind, instruction, named, target_caption, reverse = (str(edit[field]) for field in FIELDS)
    if kind not in KINDS:
        return "edit_type"
    source, target = read_facts(source_caption), read_facts(target_caption)
    moves = read_position(source_caption), read_position(target_caption)
    before, after = Counter(source.things), Counter(target.things)
    change = _Change(sorted((before - after).elements()), sorted((after - before).elements()))
    wanted = _wanted_move(source, target, moves) if kind == "move" else _wanted(kind, source, target, change)
    if wanted is None:
        return "target_caption"
    subject, forward_words, back_words = wanted
    if named != subject:
        return "object"
    if not _mentions(instruction, forward_words) or not _is_true(instruction, before + after):
        return "instruction"
    if not _mentions(reverse, back_words) or not _is_true(reverse, before + after):
        return "reverse_instruction"
    return None


_Words = Sequence[tuple[str, ...]]
_Wanted = tuple[str, _Words, _Words]


def _wanted(kind: str, source: Facts, target: Facts, change: _Change) -> _Wanted | None:
    """The object, and words (one of each group) that both instructions need, or None for facts that do not fit."""
    counts = (len(change.gone), len(change.come), source.place != target.place, source.style != target.style)
    if counts != _COUNTS[kind]:
        return None
    if kind == "change_background":
        return "background", [(str(target.place),)], [(str(source.place),)]
    if kind == "change_style":
        return "picture", [(target.style,) if target.style else _PLAIN], [(source.style,) if source.style else _PLAIN]
    (old_colour, old_noun), (new_colour, new_noun) = (change.gone or change.come)[0], (change.come or change.gone)[0]
    if kind == "replace_noun":
        both = [(old_noun,), (new_noun,)]
        return (old_noun, both, both) if old_colour == new_colour else None
    if kind == "change_colour":
        return (old_noun, [(old_noun,), (new_colour,)], [(old_noun,), (old_colour,)]) if old_noun == new_noun else None
    whole = [(new_colour,), (new_noun,)]
    return (new_noun, whole, [(new_noun,)]) if kind == "add" else (old_noun, [(old_noun,)], whole)


_COUNTS = {  # things gone, things come, place changed, style changed
    "replace_noun": (1, 1, False, False),
    "change_colour": (1, 1, False, False),
    "add": (0, 1, False, False),
    "remove": (1, 0, False, False),
    "change_background": (0, 0, True, False),
    "change_style": (0, 0, False, True),
}


def _wanted_move(source: Facts, target: Facts, positions: tuple[str, str]) -> _Wanted | None:
    """The same for the one thing of a scene that changes its position and nothing else."""
    if source != target or len(source.things) != 1 or positions[0] == positions[1]:
        return None
    noun = source.things[0][1]
    return noun, [(noun,), (positions[1],)], [(noun,), (positions[0],)]


def _mentions(text: str, groups: _Words) -> bool:
    words = set(re.findall(r"[a-z]+", text.lower()))
    return all(words.intersection(group) for group in groups)


def _is_true(instruction: str, things: Counter[tuple[str, str]]) -> bool:
    """Whether every coloured thing that `instruction` names is there, before or after."""
    return set(read_facts(instruction).things) <= set(things)
