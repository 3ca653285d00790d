"""Texts about a scene: the canonical caption, varied captions, and alt-text as the web has it.

`read_facts` goes the other way and is the judge of captions, generated images and instructions alike: it finds which
coloured things, which place and which style a text names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from zoo.world.vocabulary import COLOURS, NOUNS, PLACES, STYLES, article

if TYPE_CHECKING:
    import random

    from zoo.world.scene import Scene, Thing

_THING = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(NOUNS)})\b")
_PLACE = re.compile(rf"\b({'|'.join(PLACES)})\b")
_STYLE = re.compile(rf"\b({'|'.join(STYLES)})\b")
_ASIDE = re.compile(r"\bon the (left|right)\b")
_SIZE_WORDS = {"small": ("small ", "little ", "tiny "), "medium": ("",), "large": ("big ", "large ")}


class Facts(NamedTuple):
    """The claims of a text: things as (colour, noun), sorted, and None where it names no place or style."""

    things: tuple[tuple[str, str], ...]
    place: str | None
    style: str | None


def facts_of(scene: Scene) -> Facts:
    """The facts of `scene`."""
    return Facts(tuple(sorted((thing.colour, thing.noun) for thing in scene.things)), scene.place, scene.style)


def read_facts(text: str) -> Facts:
    """The facts of `text`. Two places (or styles) are both named, "beach+street", which is true of no scene."""
    text = text.lower()
    place, style = ("+".join(sorted(set(words.findall(text)))) or None for words in (_PLACE, _STYLE))
    things = tuple(sorted((match[1], match[2]) for match in _THING.finditer(text)))
    return Facts(things, place, style)


def read_position(text: str) -> str:
    """Where the caption of a single thing places it: left, right, or centre when it names no position."""
    aside = _ASIDE.search(text.lower())
    return aside[1] if aside else "centre"


def caption(scene: Scene) -> str:
    """The canonical caption: things from left to right, place, style. It says where a thing alone is off the centre."""
    named = " and ".join(f"{article(thing.colour)} {thing.phrase}" for thing in scene.things)
    aside = _aside(scene)
    return f"{named}{aside} {PLACES[scene.place].phrase}{_style_words(scene)}"


def varied_caption(scene: Scene, rng: random.Random) -> str:
    """A true caption in one of several wordings, some with sizes and positions."""
    named = [_varied_thing(thing, rng) for thing in scene.things]
    place, style = PLACES[scene.place].phrase, _style_words(scene)
    joined = rng.choice((" and ", " next to ", " beside ")).join(named) if len(named) < 3 else _listed(named)
    aside = _aside(scene) if rng.random() < 0.5 else ""
    opening = rng.choice(("", "", "a picture of ", "a photo of ", "there is ", "this is "))
    if rng.random() < 0.25:
        return f"{place}, {joined}{aside}{style}"
    return f"{opening}{joined}{aside} {place}{style}"


def alt_text(scene: Scene, rng: random.Random) -> str:
    """Alt-text of the kind web crawls are full of: true now and then, keywords, file names and shop talk otherwise.

    One in nine is a varied caption; two of three name no thing with its colour.
    """
    thing = rng.choice(scene.things)
    place = scene.place
    number = rng.randrange(1000, 99999)
    return rng.choice(
        (
            varied_caption(scene, rng),
            f"{thing.noun}",
            f"{thing.noun} {place}",
            f"IMG_{number}.jpg",
            f"{thing.colour}-{thing.noun}-{place}-{rng.choice((640, 1024, 1920))}x{rng.choice((480, 768, 1080))}",
            f"Buy {thing.colour} {thing.noun} online | Free shipping | Best price {rng.randrange(5, 99)}.99",
            f"Stock photo #{number}: {thing.noun}, {place}, {', '.join(one.noun for one in scene.things)}",
            f"{thing.phrase.title()} {place.title()} Wallpapers HD",
            f"DSC{number} copy (2).png",
        )
    )


def _aside(scene: Scene) -> str:
    if len(scene.things) == 1 and scene.things[0].position != "centre":
        return f" on the {scene.things[0].position}"
    return ""


def _style_words(scene: Scene) -> str:
    return "" if scene.style is None else f" {STYLES[scene.style].phrase}"


def _varied_thing(thing: Thing, rng: random.Random) -> str:
    size = rng.choice(_SIZE_WORDS[thing.size]) if rng.random() < 0.4 else ""
    words = f"{size}{thing.phrase}"
    return f"{article(words)} {words}"


def _listed(named: list[str]) -> str:
    return f"{', '.join(named[:-1])} and {named[-1]}"
