"""Edits of scenes with everything known: wording, target caption, reverse instruction, edited scene, edit mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from zoo.world.captions import caption
from zoo.world.scene import SIZE_PX, SIZES_FRAC, SLOTS_FRAC, Scene, Thing, sample_thing, thing_masks
from zoo.world.vocabulary import COLOURS, FAMILIES, FAMILY_OF, NOUNS, PLACES, STYLES, article

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

EditKind = Literal[
    "replace_noun", "change_colour", "add", "remove", "move", "change_background", "change_style"
]  # fmt: skip
KINDS: tuple[EditKind, ...] = get_args(EditKind)


@dataclass(frozen=True, slots=True)
class Edit:
    """One step from `source` to `target`.

    `source_phrase` names what changes in the source ("" when something is added), `target_phrase` what is there
    afterwards ("" when something is removed).
    """

    kind: EditKind
    source: Scene
    target: Scene
    instruction: str
    reverse_instruction: str
    source_phrase: str
    target_phrase: str

    @property
    def source_caption(self) -> str:
        """The canonical caption of the source."""
        return caption(self.source)

    @property
    def target_caption(self) -> str:
        """The canonical caption of the target."""
        return caption(self.target)


def possible_kinds(scene: Scene) -> tuple[EditKind, ...]:
    """The edits that can be done to `scene` within the world."""
    kinds: list[EditKind] = ["replace_noun", "change_colour", "change_background", "change_style"]
    if len(scene.things) == 1:
        kinds.append("move")
        if scene.things[0].position != "centre" and scene.things[0].size_frac <= SIZES_FRAC[1]["medium"]:
            kinds.append("add")
    else:
        kinds.append("remove")
    return tuple(kinds)


def sample_edit(scene: Scene, rng: random.Random, kind: EditKind | None = None) -> Edit:
    """An edit of `scene` drawn from `rng`, in one of several wordings. Raises ValueError when `kind` cannot be done."""
    if kind is None:
        kind = rng.choice(possible_kinds(scene))
    if kind not in possible_kinds(scene):
        raise ValueError(f"a scene with {len(scene.things)} things cannot take the edit {kind!r}: {caption(scene)}")
    target, source_phrase, target_phrase, wordings, reverse = _MAKE[kind](scene, rng)
    return Edit(kind, scene, target, rng.choice(wordings), rng.choice(reverse), source_phrase, target_phrase)


def sample_sequence(
    scene: Scene, rng: random.Random, num_turns: int, kinds: Sequence[EditKind] | None = None
) -> list[Edit]:
    """`num_turns` edits, each of what the one before left: sessions of multi-turn editing.

    Their kinds are drawn from those that can be done, and that are in `kinds`. Raises ValueError where there is none.
    """
    turns: list[Edit] = []
    for _ in range(num_turns):
        before = turns[-1].target if turns else scene
        possible = [kind for kind in possible_kinds(before) if kinds is None or kind in kinds]
        if not possible:
            raise ValueError(f"none of the edits {', '.join(kinds or ())} can be done to: {caption(before)}")
        turns.append(sample_edit(before, rng, rng.choice(possible)))
    return turns


def edit_mask(edit: Edit, size_px: int = SIZE_PX) -> Mask:
    """Where the edit may change the image, (size_px, size_px).

    The changed thing in source and target together; all but the things for a background; everything for a style. A mask
    holds what is more than half opaque: the soft edge around it changes too, one pixel wide, in a sketch two.
    """
    if edit.kind == "change_style":
        return np.ones((size_px, size_px), dtype=bool)
    if edit.kind == "change_background":
        behind: Mask = np.all(~thing_masks(edit.source, size_px), axis=0)
        return behind
    return _changed(edit.source, edit.target, size_px) | _changed(edit.target, edit.source, size_px)


def _changed(scene: Scene, other: Scene, size_px: int) -> Mask:
    masks = thing_masks(scene, size_px)
    mask = np.zeros((size_px, size_px), dtype=bool)
    for thing, visible in zip(scene.things, masks, strict=True):
        if thing not in other.things:
            mask |= visible
    return mask


_Made = tuple[Scene, str, str, list[str], list[str]]


def _swap_words(old: str, new: str) -> list[str]:
    a = f"{article(new)} {new}"
    verbs = ("replace", "with"), ("change", "into"), ("turn", "into"), ("swap", "for")
    return [f"{verb} the {old} {link} {a}" for verb, link in verbs]


def _replace_noun(scene: Scene, rng: random.Random) -> _Made:
    index = rng.randrange(len(scene.things))
    old = scene.things[index]
    taken = {thing.noun for thing in scene.things}
    family = [noun for noun in FAMILIES[FAMILY_OF[old.noun]] if noun not in taken]
    others = [noun for noun in NOUNS if noun not in taken]
    new = replace(old, noun=rng.choice(family if family and rng.random() < 0.7 else others))
    words, back = _swap_words(old.noun, new.noun), _swap_words(new.noun, old.noun)
    return scene.with_thing(index, new), old.phrase, new.phrase, words, back


def _recolour_words(noun: str, colour: str) -> list[str]:
    wordings = "make the {}", "turn the {}", "change the colour of the {} to", "paint the {}"
    return [f"{wording.format(noun)} {colour}" for wording in wordings]


def _change_colour(scene: Scene, rng: random.Random) -> _Made:
    index = rng.randrange(len(scene.things))
    old = scene.things[index]
    new = replace(old, colour=rng.choice([colour for colour in COLOURS if colour != old.colour]))
    words, back = _recolour_words(old.noun, new.colour), _recolour_words(old.noun, old.colour)
    return scene.with_thing(index, new), old.phrase, new.phrase, words, back


def _add_words(thing: Thing) -> list[str]:
    named, where = f"{article(thing.colour)} {thing.phrase}", _where(thing.position)
    return [f"add {named}", f"add {named} {where}", f"put {named} {where}", f"insert {named}"]


def _where(position: str) -> str:
    return f"{'in' if position == 'centre' else 'on'} the {position}"


def _remove_words(thing: Thing) -> list[str]:
    noun = thing.noun
    return [f"remove the {noun}", f"remove the {thing.phrase}", f"delete the {noun}", f"take the {noun} away"]


def _add(scene: Scene, rng: random.Random) -> _Made:
    here = scene.things[0]
    slot = SLOTS_FRAC[2][1] if here.position == "left" else SLOTS_FRAC[2][0]
    new = sample_thing(rng, rng.choice([noun for noun in NOUNS if noun != here.noun]), slot, 2)
    target = replace(scene, things=tuple(sorted((here, new), key=lambda thing: thing.x_frac)))
    return target, "", new.phrase, _add_words(new), _remove_words(new)


def _remove(scene: Scene, rng: random.Random) -> _Made:
    index = rng.randrange(len(scene.things))
    old = scene.things[index]
    target = replace(scene, things=scene.things[:index] + scene.things[index + 1 :])
    return target, old.phrase, "", _remove_words(old), _add_words(old)


def _move(scene: Scene, rng: random.Random) -> _Made:
    old = scene.things[0]
    slots = dict(zip(("left", "centre", "right"), SLOTS_FRAC[1], strict=True))
    position = rng.choice([name for name in slots if name != old.position])
    new = replace(old, x_frac=slots[position])
    words, back = (_move_words(old.noun, where) for where in (position, old.position))
    return replace(scene, things=(new,)), old.phrase, new.phrase, words, back


def _move_words(noun: str, position: str) -> list[str]:
    to = f"to the {position}"
    return [f"move the {noun} {to}", f"shift the {noun} {to}", f"put the {noun} {_where(position)}"]


def _place_words(phrase: str) -> list[str]:
    wordings = "change the background so that it is", "make it", "move the scene so that it is"
    return [f"{wording} {phrase}" for wording in wordings]


def _change_background(scene: Scene, rng: random.Random) -> _Made:
    place = rng.choice([place for place in PLACES if place != scene.place])
    words, back = _place_words(PLACES[place].phrase), _place_words(PLACES[scene.place].phrase)
    return replace(scene, place=place), scene.place, place, words, back


def _style_words(style: str | None) -> list[str]:
    if style is None:
        return ["make it a normal picture", "turn it back into a plain picture"]
    return [STYLES[style].instruction, f"make it look {STYLES[style].phrase}"]


def _change_style(scene: Scene, rng: random.Random) -> _Made:
    style = rng.choice([style for style in (*STYLES, None) if style != scene.style])
    words, back = _style_words(style), _style_words(scene.style)
    return replace(scene, style=style), scene.style or "picture", style or "picture", words, back


_MAKE = {
    "replace_noun": _replace_noun,
    "change_colour": _change_colour,
    "add": _add,
    "remove": _remove,
    "move": _move,
    "change_background": _change_background,
    "change_style": _change_style,
}
