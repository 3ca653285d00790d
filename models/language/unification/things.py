"""Rules for requests about a thing: its colour, another one in its place, removal, addition, another place.

A rule takes a cleaned request and gives it in canonical words, or None where it does not know the request.
"""

from __future__ import annotations

import re

from models.language.unification.phrases import (
    divide_place,
    is_definite,
    is_whole,
    new,
    place_name,
    subject,
    the,
    where,
)
from models.language.unification.words import (
    ATTRIBUTES,
    COLOUR,
    COLOURS,
    INDEFINITE,
    PLACE,
    SURE_COLOURS,
    one_of,
)

_CHANGE = "(?:change|turn|make|set|alter|switch|convert|modify)"
_FROM = rf"(?: from (?P<old>{COLOURS})(?: colour)?)?"
_COLOUR_RULES = (
    re.compile(
        rf"{_CHANGE} (?:the )?colours? of (?P<x>.+?){_FROM}(?: (?:to|into|as)(?: be)?)? (?:an? )?(?P<new>{COLOURS})"
        r"(?: colour)?(?: instead)?"
    ),
    re.compile(rf"{_CHANGE} (?P<x>.+?)(?:'s|')? colour{_FROM}(?: (?:to|into|as)(?: be)?)? (?P<new>{COLOURS})"),
    re.compile(
        rf"(?:make|turn|paint|repaint|colour|recolour|dye|change|convert) (?P<x>.+?){_FROM}(?: (?:to|into|in))?"
        rf"(?: (?:look|be|appear|become))? (?:(?P<new>{COLOURS})|an? (?P<sure>{SURE_COLOURS}))"
        r"(?:(?: in)? colour| ?-?coloured| instead)?"
    ),
    re.compile(rf"give (?P<x>.+?) an? (?P<new>{COLOURS}) (?:colour|finish|coat of paint|paint job)"),
)
_NO_COLOURED = re.compile(r"\b(?:to|into|that|which|who|is|are|not|wearing)\b")


def colour(text: str) -> str | None:
    """Make the car red: its new colour alone changes."""
    for rule in _COLOUR_RULES:
        match = rule.fullmatch(text)
        if match is None or _NO_COLOURED.search(match["x"]):
            continue
        found = match.groupdict()
        thing, old = subject(match["x"]), found.get("old")
        if old and not thing.startswith("the "):
            continue
        coloured = f"the {old} {thing.removeprefix('the ')}" if old else thing
        return f"make {coloured} {found['new'] or found['sure']}"
    return None


_SWAP_RULES = (
    re.compile(r"(?P<verb>replace) (?P<x>.+?) (?:with|by) (?P<y>.+)"),
    re.compile(r"(?P<verb>change|convert|transform|morph|turn|make) (?P<x>.+?) into (?P<y>.+)"),
    re.compile(rf"(?P<verb>change|convert|transform|morph|turn|switch) (?P<x>.+?) to (?P<y>{INDEFINITE} .+)"),
    re.compile(r"(?P<verb>swap|switch|exchange)(?: out)? (?P<x>.+?)(?: out)? (?P<link>for|with|by) (?P<y>.+)"),
    re.compile(r"(?P<verb>substitute) (?P<y>.+?) for (?P<x>.+)"),
    re.compile(r"(?P<verb>substitute) (?P<x>.+?) (?:with|by) (?P<y>.+)"),
    re.compile(r"(?P<verb>add|put|insert|place|draw|use|have) (?P<y>.+?),? (?:instead|in place) of (?P<x>.+)"),
    re.compile(r"(?:instead|in place) of (?P<x>.+?),? (?P<verb>add|put|insert|place|draw|use|have) (?P<y>.+)"),
    re.compile(rf"(?P<verb>put|add|place|insert) (?P<y>{INDEFINITE} .+?) where (?P<x>.+) (?:is|was|are|were)"),
    re.compile(
        rf"(?P<verb>make) (?P<x>(?:the|this|that) (?:(?:{COLOUR}|small|big|large|little|tall|old|young|tiny) )*[\w'-]+)"
        r"(?: (?:be|become))? (?P<y>an? (?!bit\b|little\b|lot\b|few\b|touch\b|tad\b|shade\b|tone\b).+)"
    ),
)
_QUALITIES = re.compile(rf"\b{one_of(ATTRIBUTES)}(?: of .+)?")
_QUALITY_OF_NEW = re.compile(r"\b(?:colours?|shades?|tones?)\b")


def replacement(text: str) -> str | None:
    """Replace the car with a truck."""
    for rule in _SWAP_RULES:
        match = rule.fullmatch(text)
        if match is None:
            continue
        old, came, verb = match["x"].removesuffix(" back"), match["y"].removesuffix(" instead"), match["verb"]
        changes = verb in {"change", "convert", "transform", "morph", "turn", "switch", "make"}
        if is_whole(old) or (changes and (_is_quality(old) or _QUALITY_OF_NEW.search(came))):
            return None
        exchanges = match.groupdict().get("link") in {"with", "by"}
        if (verb == "turn" or exchanges) and is_definite(came):
            return None  # "turn the car into the lane" moves it; "swap the cat with the dog" exchanges their places
        return f"replace {the(old)} with {new(came)}"
    return None


def _is_quality(thing: str) -> bool:
    last = re.search(rf"\b{one_of(ATTRIBUTES)}$", thing)
    return last is not None or re.match(rf"(?:the )?(?:[\w-]+ )?{one_of(ATTRIBUTES)} of ", thing) is not None


_REMOVE_RULES = (
    re.compile(
        r"(?:remove|delete|erase|eliminate|get rid of|lose(?= the )|do away with|take away|take out|take off|"
        r"edit out|rub out|wipe away|wipe out|photoshop out) (?P<x>.+?)(?: completely| entirely| altogether)?"
    ),
    re.compile(r"(?:take|edit|photoshop|clone) (?P<x>.+) (?:away|out|off)"),
    re.compile(r"take (?P<x>.+?) off(?: of)? (?P<of>(?:the|his|her|its|their|my|your) .+)"),
    re.compile(r"make (?P<x>.+) (?:disappear|vanish|go away)"),
    re.compile(r"there (?:is|are|should be|must be) (?:no|not any) (?P<x>.+?)(?: any ?more| left)?"),
)


def removal(text: str) -> str | None:
    """Remove the car. A quality stays with the thing: "the red car" may be one of two."""
    for rule in _REMOVE_RULES:
        if match := rule.fullmatch(text):
            of = match.groupdict().get("of")
            return f"remove {the(match['x'])}{f' from {of}' if of else ''}"
    return None


_ADD_RULES = (
    re.compile(rf"(?P<place>{PLACE}),? (?:add|insert|include|introduce|put|place|draw|paint) (?P<y>{INDEFINITE} .+)"),
    re.compile(rf"(?:add|insert|put|place) (?P<place>{PLACE}) (?P<y>{INDEFINITE} .+)"),
    re.compile(r"(?:add|insert|include|introduce)(?: in)? (?P<y>.+)"),
    re.compile(rf"(?:put|place|draw|paint|stick|pop|drop) (?P<y>{INDEFINITE} .+)"),
    re.compile(rf"(?:there (?:is|are|should be|must be)|let there be) (?P<y>{INDEFINITE} .+)"),
    re.compile(rf"(?:i|we)(?: want| need|'d like| would like) (?P<y>{INDEFINITE} .+) (?P<place>{PLACE})"),
)


def addition(text: str) -> str | None:
    """Add a cup on the left: something that was not there."""
    for rule in _ADD_RULES:
        if match := rule.fullmatch(text):
            thing, place = divide_place(match["y"])
            if first := match.groupdict().get("place"):
                thing, place = match["y"], place_name(first)
            return f"add {new(thing)}{f' {where(place)}' if place else ''}"
    return None


_MOVE_RULES = (
    re.compile(
        rf"(?P<verb>move|shift|slide|push|relocate|bring|drag|reposition|transfer) (?P<x>.+?)(?: over| back| across)?"
        rf" (?P<place>{PLACE})"
    ),
    re.compile(r"(?P<verb>move|shift|slide|push|drag) (?P<x>.+?) (?:to(?:wards?)? )?(?P<to>left|right)(?:wards?)?"),
    re.compile(rf"(?P<verb>put|place|set|position|make|have) (?P<x>.+?)(?: be| over)? (?P<place>{PLACE})"),
    re.compile(r"(?P<verb>centre) (?P<x>.+)"),
)
_HAS_PLACE = re.compile(
    r"\"|\b(?:on|in|under|at|behind|near|by|with|from|over|to|into|next|inside|of|up|down|beside|look|wear|hold)\b"
)


def move(text: str) -> str | None:
    """Move the cup to the left: it is there, so that it is "the cup" and not "a cup"."""
    for rule in _MOVE_RULES:
        match = rule.fullmatch(text)
        if match is None:
            continue
        thing, found = match["x"], match.groupdict()
        if re.search(r"\b(?:so|such|is|are)\b", thing):
            continue
        puts = match["verb"] in {"put", "place", "set", "position", "make", "have"}
        if puts and (not is_definite(thing) or _HAS_PLACE.search(thing)):
            continue
        name = "centre" if match["verb"] == "centre" else found.get("to") or place_name(match["place"])
        return f"move {the(thing)} to the {name}"
    return None
