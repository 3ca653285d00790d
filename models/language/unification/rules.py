"""Put an instruction into canonical words by rules alone: the same request in other words gives the same text.

Pure functions of text, for English requests. A text that no rule knows is only cleaned, so that what is not understood
is never merged with anything. Canonical forms: "replace the X with a Y", "make the X red", "remove the X", "add a Y on
the left", "move the X to the left", "change the background to a beach", "make it a sketch".
"""

from __future__ import annotations

import re
from functools import lru_cache

from models.language.unification.cleaning import clean, put_quotes, take_quotes
from models.language.unification.phrases import is_definite
from models.language.unification.scenes import background, style, whole
from models.language.unification.things import addition, colour, move, removal, replacement
from models.language.unification.words import EDIT_VERBS, PARTICIPLES, one_of

LONGEST = 500
"""Characters; a longer text is written in lower case on one line, and no other rule reads it."""
MOST_ROUNDS = 8
_RULES = (colour, style, move, background, removal, replacement, addition, whole)
"""In this order: the first that knows a request decides. Colours before replacements, moves before places."""
_DIVIDER = re.compile(
    rf"(?:[,;.]? (?:and then|and|then)|[,;.])(?: (?:please|also|now|then))? (?={one_of(EDIT_VERBS)} \S)"
)
_STATEMENTS = (
    re.compile(
        r"(?:change|edit|modify|alter|adjust|transform|make|move|set|put) (?P<x>.+?),? (?:so|such)(?: that)? "
        r"(?:it|they|he|she) (?:is|are|looks?|becomes?) (?P<y>.+)"
    ),
    re.compile(r"(?:let|have) (?P<x>.+?) (?:be|become|take place) (?P<y>.+)"),
    re.compile(r"(?:i|we)(?: want| need|'d like| would like) (?P<x>.+?) to (?:be|look|become) (?P<y>.+)"),
    re.compile(
        r"(?P<x>.+?) (?:(?:should|must|could|has to|have to|needs to|need to|ought to) (?:be|become|look)|"
        r"is|are|becomes?|looks) (?P<y>.+)"
    ),
)
_PASSIVE = re.compile(
    r"(?:have|get|i want|i need|i'd like|i would like) (?P<x>.+?) "
    rf"(?P<done>{one_of(frozenset(PARTICIPLES))})(?P<y> .+)?"
)
_NO_SUBJECT = re.compile(r"\b(?:that|which|who|where|there)\b")
_COMPARATIVE = re.compile(r"(?:more [a-z]+|less [a-z]+|[a-z]+er)")
_IT = re.compile(r"\bit\b")


@lru_cache(maxsize=65536)
def unify_by_rule(instruction: str) -> str:
    """The instruction in canonical words; empty only where it has no letter and no digit.

    Text in quotation marks keeps its capitals. unify_by_rule(unify_by_rule(x)) == unify_by_rule(x).
    """
    if not any(map(str.isalnum, instruction)):
        return ""
    text, quotes = take_quotes(instruction)
    if len(text) <= LONGEST:
        text = _unified(text)
    return put_quotes(text, quotes)


def _unified(text: str) -> str:
    for _ in range(MOST_ROUNDS):
        first, *others = _requests(clean(text))
        joined = " and ".join([_request(first), *map(_further_request, others)])
        joined = " ".join(joined.split())
        if joined == text:
            break
        text = joined
    return text


def _requests(text: str) -> list[str]:
    """The requests of a text, one after another. "On the left, add a dog" is one."""
    return _DIVIDER.split(text) if text.partition(" ")[0] in EDIT_VERBS else [text]


def _request(text: str) -> str:
    """One request in canonical words."""
    text = clean(text)
    text = re.sub(r"^(it|there)'s ", r"\1 is ", text)
    return _by_rules(text) or _statement(text) or text


def _further_request(text: str) -> str:
    """A request after another one: "it" is the thing named there, and no word of the image may become "it"."""
    found = _request(text)
    return found if len(_IT.findall(found)) == len(_IT.findall(text)) else clean(text)


def _by_rules(text: str) -> str | None:
    return next((found for rule in _RULES if (found := rule(text)) is not None), None)


def _statement(text: str) -> str | None:
    """A wish that is worded as a statement, "the car should be red", as a request."""
    if (match := _PASSIVE.fullmatch(text)) and is_definite(match["x"]):
        return _by_rules(f"{PARTICIPLES[match['done']]} {match['x']}{match['y'] or ''}")
    for rule in _STATEMENTS:
        match = rule.fullmatch(text)
        if match is None or not is_definite(match["x"]) or _NO_SUBJECT.search(match["x"]):
            continue
        asked = f"make {match['x']} {match['y']}"
        known = _by_rules(asked)
        if known is not None or _COMPARATIVE.fullmatch(match["y"]):
            return known or asked
    return None
