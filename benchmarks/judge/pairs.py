"""Edits of the miniature world with their exact result, and the same edits spoiled in known ways."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from zoo.world import COLOURS, FAMILIES, PLACES, STYLES, facts_of, render
from zoo.write_edits import EditOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zoo.world import Edit, EditKind, Scene
    from zoo.world.scene import Pixels

RIGHT = "right"
KINDS: tuple[EditKind, ...] = ("replace_noun", "change_colour", "add", "remove")
"""Edits of one thing: they can be done to the wrong thing."""
JPEG_QUALITY = 90
"""Half of all edited images went through JPEG, right ones and spoiled ones alike, so that no byte gives them away."""


class JudgedPair(NamedTuple):
    """An edit, its edited image, and how it was spoiled: `right` for the true result."""

    key: str
    edit: Edit
    how: str
    source: Pixels
    edited: Pixels


def pairs(count: int, seed: int) -> Iterator[JudgedPair]:
    """`count` pairs: every second one right, the others spoiled in turn. An edit is used once."""
    ways = list(SPOIL)
    edits = EditOrder(count * 4, seed, KINDS).edits()
    number = 0
    for index, edit in edits:
        if number == count:
            return
        how = RIGHT if number % 2 == 0 else ways[(number // 2) % len(ways)]
        rng = random.Random(f"judge {seed} {index}")
        spoiled = render(edit.target) if how == RIGHT else SPOIL[how](edit, rng)
        if spoiled is None:  # a scene with one thing has no wrong one
            continue
        number += 1
        edited = _compressed(spoiled) if rng.random() < 0.5 else spoiled
        yield JudgedPair(f"{index:09d}", edit, how, render(edit.source), edited)


def _nothing_changed(edit: Edit, rng: random.Random) -> Pixels | None:
    del rng
    return render(edit.source)


def _wrong_object(edit: Edit, rng: random.Random) -> Pixels | None:
    """The change, done to another thing of the scene."""
    others = [n for n, thing in enumerate(edit.source.things) if thing.phrase != edit.source_phrase]
    if edit.kind == "add" or not others:
        return None
    index = rng.choice(others)
    thing = edit.source.things[index]
    if edit.kind == "remove":
        return render(replace(edit.source, things=(*edit.source.things[:index], *edit.source.things[index + 1 :])))
    colour, noun = edit.target_phrase.split(" ", 1)
    changed = replace(thing, noun=noun) if edit.kind == "replace_noun" else replace(thing, colour=colour)
    scene = edit.source.with_thing(index, changed)
    return None if facts_of(scene) in (facts_of(edit.source), facts_of(edit.target)) else render(scene)


def _wrong_result(edit: Edit, rng: random.Random) -> Pixels | None:
    """The right thing changed into another one than was asked for."""
    if edit.kind == "remove":
        return None
    (index,) = [n for n, thing in enumerate(edit.target.things) if thing not in edit.source.things]
    thing = edit.target.things[index]
    if edit.kind == "replace_noun":
        taken = {one.noun for one in (*edit.source.things, *edit.target.things)}
        other = rng.choice([noun for nouns in FAMILIES.values() for noun in nouns if noun not in taken])
        return render(edit.target.with_thing(index, replace(thing, noun=other)))
    before = {one.colour for one in edit.source.things if one.noun == thing.noun}
    colours = [colour for colour in COLOURS if colour != thing.colour and colour not in before]
    return render(edit.target.with_thing(index, replace(thing, colour=rng.choice(colours))))


def _too_much(edit: Edit, rng: random.Random) -> Pixels | None:
    """The right change, and another place or style, or another thing recoloured as well."""
    scene: Scene = edit.target
    kept = [n for n, thing in enumerate(scene.things) if thing in edit.source.things]
    what = rng.choice(["place", "style", *(["thing"] if kept else [])])
    if what == "place":
        return render(replace(scene, place=rng.choice([place for place in PLACES if place != scene.place])))
    if what == "style":
        return render(replace(scene, style=rng.choice([style for style in STYLES if style != scene.style])))
    thing = scene.things[rng.choice(kept)]
    colour = rng.choice([colour for colour in COLOURS if colour != thing.colour])
    return render(scene.with_thing(scene.things.index(thing), replace(thing, colour=colour)))


def _noise_elsewhere(edit: Edit, rng: random.Random) -> Pixels | None:
    """The right change under noise and a shift of brightness of the whole image: no fact changes, only pixels."""
    noise = np.random.default_rng(rng.getrandbits(32)).normal(rng.choice((-25, 25)), 12, (64, 64, 3))
    return np.clip(render(edit.target) + noise, 0, 255).astype(np.uint8)


SPOIL: dict[str, Callable[[Edit, random.Random], Pixels | None]] = {
    "nothing changed": _nothing_changed,
    "wrong object": _wrong_object,
    "wrong result": _wrong_result,
    "too much changed": _too_much,
    "pixels of the rest changed": _noise_elsewhere,
}
"""Name of a way to spoil an edit -> the spoiled image, or None where it cannot be done to this edit."""


def _compressed(pixels: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    buffer.seek(0)
    return np.asarray(Image.open(buffer).convert("RGB"))
