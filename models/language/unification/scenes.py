"""Rules for requests about the whole image: its background, its style, its time of day, season or tone.

A rule takes a cleaned request and gives it in canonical words, or None where it does not know the request.
"""

from __future__ import annotations

import re

from models.language.unification.phrases import an, place_name
from models.language.unification.words import (
    COUNT_MEDIA,
    FALLING,
    LIGHT_NAMES,
    MASS_MEDIA,
    NORMAL,
    NOT_PLACES,
    PICTURE,
    SCENE,
    STATES,
    WHOLE,
)

_LINK = (
    "(?P<link>look like it is |look as if it (?:is|was|were) |look like |look as |look |to look like |appear as |"
    "resemble |to be |be |take place |back to |back into |to |into |as |in |like |)"
)
_NATURE = (
    "(?:(?:the )?(?:scene|setting|season|time of day|time|weather|lighting|daytime|day|night|summer|winter|spring|"
    "autumn)(?: from [a-z]+)?)"
)
_STYLE_RULES = (
    re.compile(
        "(?:make|turn|change|convert|transform|render|redraw|draw|paint|repaint|restyle|stylise|stylize|reimagine|do) "
        rf"(?:it|{WHOLE}) {_LINK}(?P<s>.+)"
    ),
    re.compile(r"(?:turn|change|convert|transform) (?P<link>to |into |in)(?P<s>.+)"),
    re.compile(r"(?P<link>as )(?P<s>.+)"),
    re.compile(r"(?P<link>)(?P<s>in (?:the style of .+|[\w' -]+ style))"),
    re.compile(rf"(?:change|set|switch|turn|convert|transform|make) {_NATURE} (?P<link>to be |to |into |be )(?P<s>.+)"),
)
_STYLE_TO = re.compile(
    r"(?:change|set|switch|turn|convert|transform) (?:the )?style (?:to|into) (?:the |an? )?(?P<z>.+)"
)
_FILTER = re.compile(
    rf"(?:apply|add|use|give (?:it|{WHOLE})) (?:an? |the |some )?(?P<z>.+?) (?P<what>filter|effect|look|style|tones?)"
    rf"(?: (?:to|on|over) (?:it|{WHOLE}))?"
)
_AGAIN = re.compile(r" (?:again|instead)$")
_STATE = re.compile(
    rf"(?:in |at |during )?(?:the |an? )?(?P<state>{STATES})(?: (?:{PICTURE}|scene|version|tones?|style|filter|time))?"
)
_FALLING = re.compile(rf"(?:in falling |falling )?(?P<what>{FALLING})")
_FALLS = re.compile(rf"(?P<what>{FALLING})ing")
_STYLE_OF = re.compile(r"(?:in |with )?(?:the |an? )?style of (?:the |an? )?(?P<z>.+)")
_OWN_STYLE = re.compile(r"(?P<in>in |with )?(?:an? |the )?(?P<z>[\w' -]+?)(?:'s)?[ -]style")
_MEDIUM = re.compile(
    rf"(?:in |as |like )?(?:an? )?(?P<z>(?:[\w'-]+ ){{0,3}}?)(?:(?P<mass>{MASS_MEDIA})|(?P<count>{COUNT_MEDIA}))"
    r"(?P<more> (?:by|of|in|from|on|with) .+)?"
)
_NO_MEDIUM = re.compile(r"\b(?:is|are|was|were|the|a|an|and|of|in|on|at|no|not|has|have|this|that)\b")
LONGEST_STYLE = 4
"""Words of a name in "in NAME style"; a longer one stays in "in the style of NAME"."""


def style(text: str) -> str | None:
    """Make it a pencil sketch, make it night, make it in cubist style: the whole image looks otherwise."""
    if match := _FILTER.fullmatch(text):
        look = _look(match["z"], "") if match["what"] != "style" else _look(f"in {match['z']} style", "")
        return None if look is None or (match["what"] != "style" and look.startswith("in ")) else f"make it {look}"
    if match := _STYLE_TO.fullmatch(text):
        return f"make it {_look(match['z'], '') or _styled(match['z'])}"
    if match := re.fullmatch(rf"let it (?P<what>{FALLING})", text):
        return f"make it {match['what']}"
    for rule in _STYLE_RULES:
        if (match := rule.fullmatch(text)) and (look := _look(_AGAIN.sub("", match["s"]), match["link"])):
            return f"make it {look}"
    return None


def _look(text: str, link: str) -> str | None:
    """The look that a phrase names, as it follows "make it", or None where it names none."""
    if re.fullmatch(NORMAL, text):
        return "a normal picture"
    if match := _STATE.fullmatch(text):
        return LIGHT_NAMES.get(match["state"], match["state"])
    if match := _FALLS.fullmatch(text):
        return match["what"]
    if match := _FALLING.fullmatch(text):
        return match["what"] if text.startswith("in ") or not link.strip() else None
    if match := _STYLE_OF.fullmatch(text):
        return _styled(match["z"])
    if (match := _OWN_STYLE.fullmatch(text)) and (match["in"] or link == "in " or _MEDIUM.fullmatch(match["z"])):
        return _styled(match["z"])
    return _medium(text)


def _styled(name: str) -> str:
    name = name.removesuffix("'s")
    is_short = len(name.split()) <= LONGEST_STYLE
    return _medium(name) or (f"in {name} style" if is_short else f"in the style of {name}")


def _medium(text: str) -> str | None:
    match = _MEDIUM.fullmatch(text)
    if match is None or _NO_MEDIUM.search(match["z"]):
        return None
    found = f"{match['z']}{match['mass'] or match['count']}"
    return f"{found if match['mass'] else an(found)}{match['more'] or ''}"


_SET = "(?:change|turn|set|make|replace|swap|switch|move|put|place|take|convert|transform|shift|relocate|update)"
_BACKGROUND = re.compile(
    rf"(?P<verb>{_SET}) (?P<what>{SCENE}|{WHOLE}) (?P<link>to be |to |into |with |by |for |as |be |"
    r"take place |)(?P<p>.+)"
)
_USED = re.compile(rf"use (?P<p>(?:an?|the) .+) (?:as|for) {SCENE}")
_SCENE_ONLY = re.compile(rf"make (?:it|{WHOLE}) (?:be |take place |look (?:like|as if) it (?:is|was|were) )?(?P<p>.+)")
_AT = re.compile(r"(?:in|on|at) (?P<p>(?:an?|the) .+)")
_NEAR = re.compile(r"(?:under|underneath|near|beside|next to|in front of|behind|inside|outside) (?:an?|the|some) .+")
_NAMED = re.compile(r"(?:an?|the) .+")


def background(text: str) -> str | None:
    """Change the background to a beach; set the scene under the sea, where no plain "in" or "on" says it."""
    if match := _SCENE_ONLY.fullmatch(text):
        return _at_place(match["p"])
    if match := _USED.fullmatch(text):
        return f"change the background to {match['p']}"
    match = _BACKGROUND.fullmatch(text)
    if match is None or place_name(f"{match['link']}{match['p']}"):
        return None
    place, link = match["p"].removesuffix(" instead"), match["link"]
    if found := _at_place(place):
        return found
    if not re.fullmatch(SCENE, match["what"]) or place.rpartition(" ")[2] in NOT_PLACES:
        return None
    is_bare = not _NAMED.fullmatch(place)
    if is_bare and (link not in {"to ", "into ", "with "} or place.partition(" ")[0] in {"be", "look", "have", "show"}):
        return None
    return f"change the background to {place}"


def _at_place(text: str) -> str | None:
    if place_name(text) or text.rpartition(" ")[2] in NOT_PLACES:
        return None
    if match := _AT.fullmatch(text):
        return f"change the background to {match['p']}"
    return f"set the scene {text}" if _NEAR.fullmatch(text) else None


_WHOLE_RULES = (
    re.compile(rf"(?:turn|change|convert|transform|make) (?:it|{WHOLE}) (?:back )?into (?P<y>.+)"),
    re.compile(rf"(?:turn|change|convert|transform) (?:it|{WHOLE}) (?:back )?to (?P<y>(?:an?|the) .+)"),
    re.compile(rf"make {WHOLE} (?P<y>.+)"),
)


def whole(text: str) -> str | None:
    """Make it a horror film: any other request about the whole image."""
    match = next(filter(None, (rule.fullmatch(text) for rule in _WHOLE_RULES)), None)
    if match is None or re.fullmatch(FALLING, match["y"]):
        return None  # what turns into snow does not make it snow
    return f"make it {match['y']}"
