"""Check that a language model's instruction asks for the same edit as the request, by the words of both.

Both are in the forms of `rules`. The check is strict: what it lets through has the kind of edit of the request and its
words in the same roles, and no other word. A request that no rule knows has to name the kind of edit in some word.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from models.language.unification.words import word_set

MOST_CHARS = 300
"""Of an answer; a longer one is a model that repeats itself."""

_FORMS = {
    "replace": re.compile(r"replace (.+?) with (.+)"),
    "remove": re.compile(r"remove (.+)"),
    "add": re.compile(r"add (.+)"),
    "move": re.compile(r"move (.+ to the .+)"),
    "background": re.compile(r"(?:change the background to|set the scene) (.+)"),
    "make": re.compile(r"make (.+)"),
}
"""Kind of edit -> its canonical form, the parts that carry meaning as groups."""
_SIGNS = {
    "replace": word_set("change become becomes trade exchange swap substitute to into for instead rather where like"),
    "remove": word_set(
        "delete erase eliminate rid get away out off gone go lose ditch drop vanish disappear without discard strip "
        "scrap omit exclude clear dispose"
    ),
    "add": word_set("insert include put place draw have has give with show bring introduce attach there want missing"),
    "move": word_set("shift slide push drag put place bring relocate go to"),
    "background": word_set("background scene setting location backdrop happen happens takes take place put move"),
    "make": word_set(
        "turn become becomes paint colour recolour dye look looks render come comes in be is are was were"
    ),
}
"""Kind of edit -> words by which a request that no rule knows asks for it."""
_BACKWARD = word_set("instead rather where")
"""Words of a request for a replacement that names what comes first and what goes last."""
_ARTICLES = word_set("a an the some")
_FILLERS = word_set(
    "i we you he she they me us want wants wish need needs like likes love prefer think believe guess feel would could "
    "should can may might must shall will ought has have had got be is are was were been do does did that this so of "
    "for to look looks please nice nicely good great better cool just really maybe perhaps if sure how about let see "
    "seems kindly"
)
"""Words of a wish that say nothing about the image."""
_PLACES = word_set("left right top bottom centre background foreground corner")
_SYNONYMS = {
    "automobile": "car", "auto": "car", "photograph": "picture", "photo": "picture", "image": "picture",
    "pic": "picture", "bike": "bicycle", "tv": "television", "airplane": "plane", "aeroplane": "plane",
    "couch": "sofa", "big": "large", "little": "small", "kid": "child", "kids": "children",
}  # fmt: skip


class _Reading(NamedTuple):
    """An instruction as it is compared: kind of edit, or None, and the words of each part that carries meaning."""

    kind: str | None
    parts: tuple[tuple[str, ...], ...]


def asks_the_same(request: str, answer: str) -> bool:
    """True where both ask for one edit of the same things, colours, places and numbers, both or neither negated."""
    if not answer or len(answer) > MOST_CHARS:
        return False
    wanted, given = _read(request), _read(answer)
    if wanted.kind is not None or given.kind is None:
        return wanted == given
    signs = _SIGNS[given.kind]
    words = _words(request)
    if not signs & set(words):
        return False
    parts = given.parts
    if given.kind == "replace" and _BACKWARD & set(words):
        parts = parts[::-1]
    said = [word for word in words if word not in signs | _FILLERS]
    named = [word for part in parts for word in part if word not in signs | _FILLERS]
    return bool(named) and _without_places(said) == _without_places(named) and _places(said) == _places(named)


def _read(text: str) -> _Reading:
    for kind, form in _FORMS.items():
        if match := form.fullmatch(text):
            return _Reading(kind, tuple(tuple(_words(part)) for part in match.groups()))
    return _Reading(None, (tuple(_words(text)),))


def _words(text: str) -> list[str]:
    """The words without articles, each in the one of its synonyms that stands for all."""
    words = [word.strip(",.;:!?") for word in text.split()]
    return [_SYNONYMS.get(word, word) for word in words if word and word not in _ARTICLES]


def _without_places(words: list[str]) -> list[str]:
    return [word for word in words if word not in _PLACES]


def _places(words: list[str]) -> Counter[str]:
    return Counter(word for word in words if word in _PLACES)
