"""Phrases of a request as the rules compare them: a thing with its determiner, a place on the image.

Pure functions of text in lower case.
"""

from __future__ import annotations

import re

from models.language.unification.words import ARTICLES, DEMONSTRATIVES, DETERMINERS, PLACE, PRONOUNS, WHOLE, one_of

_WHOLE = re.compile(rf"(?:it|{WHOLE})")
_NO_NOUN = one_of("it them us you of but except excluding apart besides that who which")
"""Words after "all" that begin no name of a thing: "all but the dog", "all that is red"."""
_ALL = re.compile(rf"(all|both) (?:of )?(?:the |these |those )?(?!{_NO_NOUN}\b)(?=\w)")
_PLACE = re.compile(PLACE)
_PLACE_AT_END = re.compile(rf"(?P<before>.+) (?P<place>{PLACE})")


def the(thing: str) -> str:
    """A thing that is there, with its determiner: "the" where it has none, or where it has "this" or "those".

    "a" stays: a tree of many is not the tree. So do "his", "all", numbers, and what is a name by its "'s".
    """
    first, _, rest = thing.partition(" ")
    if first in DEMONSTRATIVES and rest:
        return f"the {rest}"
    if first in {"all", "both"}:
        return _ALL.sub(r"\1 the ", thing, count=1)
    is_name = first[:1].isdigit() or first.startswith('"') or first.endswith(("'s", "s'"))
    is_settled = first in DETERMINERS or rest.partition(" ")[0] in ARTICLES
    return thing if is_settled or is_name else f"the {thing}"


def new(thing: str) -> str:
    """A thing that comes, without "some"."""
    return thing.removeprefix("some ")


def an(thing: str) -> str:
    """The thing with the article "a" or "an" in front."""
    return f"{'an' if thing[:1] in 'aeiou' else 'a'} {thing}"


def subject(thing: str) -> str:
    """The thing of a request to make it look otherwise: "it" for the whole image."""
    return "it" if _WHOLE.fullmatch(thing) else the(thing)


def is_whole(thing: str) -> bool:
    """True for "it", "the picture", "the whole image"."""
    return _WHOLE.fullmatch(thing) is not None


def is_definite(thing: str) -> bool:
    """True for a thing that the request takes to be there: "the cup", "his hat", "it"."""
    first, _, rest = thing.partition(" ")
    there = {"the", "my", "your", "his", "her", "its", "their", "our", "all", "both", "each", "every"}
    return first in there or (first in DEMONSTRATIVES and bool(rest)) or (first in PRONOUNS and not rest)


def place_name(place: str) -> str | None:
    """The name of a place on the image, "left" of "on the left hand side", or None for another place."""
    match = _PLACE.fullmatch(place)
    return None if match is None else _name(match)


def divide_place(text: str) -> tuple[str, str | None]:
    """The text before a place on the image at its end, and the name of that place, or None."""
    match = _PLACE_AT_END.fullmatch(text)
    return (text, None) if match is None else (match["before"], _name(match))


def where(name: str) -> str:
    """The place of that name as additions have it: "on the left", "in the centre"."""
    preposition = "on" if name in {"left", "right"} else "at" if name in {"top", "bottom"} else "in"
    return f"{preposition} the {name}"


def _name(match: re.Match[str]) -> str:
    if match["wide"]:
        high = "top" if match["high"] in {"top", "upper"} else "bottom"
        return f"{high} {match['wide']} corner"
    centre = "centre" if match["centre"] else None
    return str(match["side"] or centre or match["edge"] or match["depth"])
