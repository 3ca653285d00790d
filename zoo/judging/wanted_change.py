"""The change that an instruction asks for, read from the world's own wordings, or from two captions that differ."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.world.captions import read_facts, read_position
from zoo.world.vocabulary import COLOURS, NOUNS, PLACES, STYLES

if TYPE_CHECKING:
    from zoo.world.edits import EditKind

_COLOUR, _NOUN = "|".join(COLOURS), "|".join(NOUNS)
_THING = rf"(?:(?P<old_colour>{_COLOUR}) )?(?P<old>{_NOUN})"
_WHERE = r"(?:in|on) the (?P<position>left|centre|right)"
_WORDINGS: tuple[tuple[EditKind, str], ...] = (
    ("replace_noun", rf"(?:replace|change|turn|swap) the {_THING} (?:with|into|for) an? (?P<noun>{_NOUN})"),
    ("change_colour", rf"(?:make|turn|paint) the {_THING} (?P<colour>{_COLOUR})"),
    ("change_colour", rf"change the colour of the {_THING} to (?P<colour>{_COLOUR})"),
    ("add", rf"(?:add|put|insert) an? (?P<colour>{_COLOUR}) (?P<noun>{_NOUN})(?: {_WHERE})?"),
    ("remove", rf"(?:remove|delete) the {_THING}"),
    ("remove", rf"take the {_THING} away"),
    ("move", rf"(?:move|shift) the {_THING} to the (?P<position>left|centre|right)"),
    ("move", rf"put the {_THING} {_WHERE}"),
)
_PLACES = {place.phrase: name for name, place in PLACES.items()}
_PLACE_WORDINGS = ("change the background so that it is", "make it", "move the scene so that it is")
_PLAIN = ("make it a normal picture", "turn it back into a plain picture")


@dataclass(frozen=True, slots=True)
class Wish:
    """One change: the thing that it is about, by its words, and what it should be afterwards.

    A text is None where the change leaves it as it is. `style` is "" for a picture without one.
    """

    kind: EditKind
    old: str | None = None
    old_colour: str | None = None
    noun: str | None = None
    colour: str | None = None
    position: str | None = None
    place: str | None = None
    style: str | None = None


def read_wish(instruction: str, source_caption: str | None, target_caption: str | None) -> Wish | None:
    """The change that is asked for, or None where neither the instruction nor the captions say it."""
    text = " ".join(instruction.lower().rstrip(" .!").split())
    for kind, wording in _WORDINGS:
        if found := re.fullmatch(wording, text):
            return Wish(kind, **found.groupdict())
    return _of_scene(text) or _of_captions(source_caption, target_caption)


def _of_scene(text: str) -> Wish | None:
    """A change of the place or the style."""
    for phrase, place in _PLACES.items():
        if text in [f"{wording} {phrase}" for wording in _PLACE_WORDINGS]:
            return Wish("change_background", place=place)
    for name, style in STYLES.items():
        if text in (style.instruction, f"make it look {style.phrase}"):
            return Wish("change_style", style=name)
    return Wish("change_style", style="") if text in _PLAIN else None


def _of_captions(source_caption: str | None, target_caption: str | None) -> Wish | None:
    """The one fact in which two captions differ."""
    if not source_caption or not target_caption:
        return None
    source, target = read_facts(source_caption), read_facts(target_caption)
    before, after = Counter(source.things), Counter(target.things)
    gone, come = list((before - after).elements()), list((after - before).elements())
    changed = (len(gone), len(come), source.place != target.place, source.style != target.style)
    if changed == (0, 0, False, False):
        return _move_of(source_caption, target_caption, [noun for _, noun in source.things])
    if changed == (0, 0, True, False):
        return Wish("change_background", place=target.place)
    if changed == (0, 0, False, True):
        return Wish("change_style", style=target.style or "")
    if changed == (0, 1, False, False):
        return Wish("add", colour=come[0][0], noun=come[0][1])
    if changed == (1, 0, False, False):
        return Wish("remove", gone[0][1], gone[0][0])
    if changed != (1, 1, False, False):
        return None
    (old_colour, old), (colour, noun) = gone[0], come[0]
    if old == noun:
        return Wish("change_colour", old, old_colour, colour=colour)
    return Wish("replace_noun", old, old_colour, noun=noun) if old_colour == colour else None


def _move_of(source_caption: str, target_caption: str, nouns: list[str]) -> Wish | None:
    position = read_position(target_caption)
    if len(nouns) != 1 or read_position(source_caption) == position:
        return None
    return Wish("move", nouns[0], position=position)
