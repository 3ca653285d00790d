"""The words of the miniature world: nouns in families, colours, places, styles, and what a caption says of them.

Every noun has a co-hyponym of its own family in WordNet 3.0 (at most two steps up to the shared hypernym), so that an
edit the pipeline derives from WordNet can be drawn.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A backdrop: what a caption says, and the stuff classes above and below the horizon."""

    phrase: str
    keyword: str
    backdrop: str
    ground: str


class Style(NamedTuple):
    """A change of the whole image: what a caption says, the word it is known by, and the instruction's words."""

    phrase: str
    keyword: str
    instruction: str


FAMILIES: dict[str, tuple[str, ...]] = {
    "vehicles": ("car", "truck", "bus", "train"),
    "animals": ("cat", "dog", "bear", "bird", "fish"),
    "fruit": ("apple", "pear", "banana", "cherry"),
    "furniture": ("chair", "table", "sofa", "lamp"),
    "buildings": ("house", "church", "barn"),
    "plants": ("tree", "cactus"),
    "toys": ("kite", "balloon", "teddy"),
    "vessels": ("cup", "bottle", "vase"),
}
NOUNS: tuple[str, ...] = tuple(noun for nouns in FAMILIES.values() for noun in nouns)
FAMILY_OF: dict[str, str] = {noun: family for family, nouns in FAMILIES.items() for noun in nouns}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 28, 40),
    "orange": (250, 134, 20),
    "yellow": (248, 216, 36),
    "green": (40, 160, 60),
    "blue": (36, 92, 220),
    "purple": (142, 50, 176),
    "white": (246, 246, 246),
    "black": (28, 28, 32),
}

PLACES: dict[str, Place] = {
    "meadow": Place("in a meadow", "meadow", "sky", "grass"),
    "beach": Place("on a beach", "beach", "sea", "sand"),
    "street": Place("on a street", "street", "facades", "road"),
    "desert": Place("in the desert", "desert", "haze", "dunes"),
    "forest": Place("in a forest", "forest", "woods", "soil"),
    "kitchen": Place("in a kitchen", "kitchen", "wall", "tiles"),
    "mountains": Place("in the mountains", "mountains", "peaks", "rocks"),
    "moon": Place("on the moon", "moon", "space", "dust"),
}
STUFF: tuple[str, ...] = tuple(name for place in PLACES.values() for name in (place.backdrop, place.ground))

STYLES: dict[str, Style] = {
    "night": Style("at night", "night", "turn it into night"),
    "sketch": Style("as a pencil sketch", "sketch", "make it a pencil sketch"),
    "sepia": Style("in sepia", "sepia", "turn it into a sepia photo"),
    "snow": Style("in falling snow", "snow", "make it snow"),
}

SIZES: tuple[str, ...] = ("small", "medium", "large")


def article(word: str) -> str:
    """The article "a" or "an" of `word`."""
    return "an" if word[0] in "aeiou" else "a"
