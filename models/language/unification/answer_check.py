"""Check that a language model's instruction asks for the same edit as the request, by the words of both.

Both are in the forms of `rules`. The check is strict: what it lets through has the kind of edit of the request and its
words in the same roles, and no other word. A request that no rule knows has to name the kind of edit in some word; one
for a replacement or a move also has to show which thing goes and which comes, or what moves and where to. A doubt is a
refusal, because the text of the rules is there to be used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from models.language.unification.words import word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CHARS = 300
"""Of an answer; a longer one is a model that repeats itself."""

_FORMS = {
    "replace": re.compile(r"replace (.+?) with (.+)"),
    "remove": re.compile(r"remove (.+)"),
    "add": re.compile(r"add (.+)"),
    "move": re.compile(r"move (.+) to the (.+)"),
    "background": re.compile(r"(?:change the background to|set the scene) (.+)"),
    "make": re.compile(r"make (.+)"),
}
"""Kind of edit -> its canonical form, the parts that carry meaning as groups."""
_SIGNS = {
    "replace": word_set("change become becomes trade exchange swap to into for instead rather where like"),
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
_LINKS = word_set("become becomes into")
"""Words right before what comes, in a request that has named what goes."""
_EXCHANGES, _LINKS_OF_EXCHANGE = word_set("change trade exchange swap"), word_set("to for")
"""Verbs, and the links that have that sense with one of them only: "i prefer a cat to the dog" turns it round."""
_INSTEAD_OF = ["instead", "of"]
_IS = word_set("is are was were")
_WITH_OLD = _IS | word_set("instead of where")
"""All words that may stand beside what goes, in "instead of the dog" and "where the dog is" at the end."""
_ARTICLES = word_set("a an the some")
_FILLERS = word_set(
    "i we you he she they me us want wants wish need needs like likes love prefer think believe guess feel would could "
    "should can may might must shall will ought has have had got be is are was were been do does did that this so of "
    "for to look looks please nice nicely good great better cool just really maybe perhaps if sure how about let see "
    "seems kindly"
)
"""Words of a wish that say nothing about the image."""
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
    words = _words(request)
    ignored = _SIGNS[given.kind] | _FILLERS
    parts = [_named(part, ignored) for part in given.parts]
    if not all(parts) or not _SIGNS[given.kind] & set(words):
        return False
    if given.kind == "replace":
        return _replaces(words, parts[0], parts[1], ignored)
    if given.kind == "move":
        return _moves(words, parts[0], list(given.parts[1]), ignored)
    return _named(words, ignored) == parts[0]


def _replaces(words: list[str], old: list[str], new: list[str], ignored: frozenset[str]) -> bool:
    """True where the words name `old` as what goes and `new` as what comes."""
    marks = [place for place, word in enumerate(words) if word == "where" or words[place : place + 2] == _INSTEAD_OF]
    if len(marks) > 1:
        return False
    if marks and (before := _named(words[: marks[0]], ignored)):  # a cat instead of the dog; a cat where the dog is
        return before == new and _named(words[marks[0] :], _WITH_OLD) == old
    said = [place for place, word in enumerate(words) if word not in ignored]
    if [words[place] for place in said] != old + new:
        return False
    last_old, first_new = said[len(old) - 1], said[len(old)]
    if marks:  # instead of the dog, i want a cat; where the dog is, i want a cat
        return first_new - last_old > 1 and (words[marks[0]] != "where" or words[last_old + 1] in _IS)
    link = words[first_new - 1]  # the dog becomes a cat; trade the dog for a cat
    return link in _LINKS or (link in _LINKS_OF_EXCHANGE and bool(_EXCHANGES & set(words)))


def _moves(words: list[str], thing: list[str], place: list[str], ignored: frozenset[str]) -> bool:
    """True where the words name the thing, and then "to" and the place."""
    before, after = words[: -len(place)], words[-len(place) :]
    return after == place and before[-1:] == ["to"] and _named(before, ignored) == thing


def _read(text: str) -> _Reading:
    for kind, form in _FORMS.items():
        if match := form.fullmatch(text):
            return _Reading(kind, tuple(tuple(_words(part)) for part in match.groups()))
    return _Reading(None, (tuple(_words(text)),))


def _words(text: str) -> list[str]:
    """The words without articles, each in the one of its synonyms that stands for all."""
    words = [word.strip(",.;:!?") for word in text.split()]
    return [_SYNONYMS.get(word, word) for word in words if word and word not in _ARTICLES]


def _named(words: Sequence[str], ignored: frozenset[str]) -> list[str]:
    """The words that name something in the image."""
    return [word for word in words if word not in ignored]
