"""Finds texts that name a side: their images cannot be mirrored, as the text would be wrong afterwards."""

from __future__ import annotations

import re

_SIDES = re.compile(
    r"\b(?:(?:left|right)(?:s|y|most|hand(?:ed|er)?|wards?|wise)?"
    r"|(?:anti|counter)?-?clockwise|mirror(?:s|ed|ing)?|flip(?:s|ped|ping)?|horizontal(?:ly)?"
    r"|(?:north|south)?-?(?:east|west)(?:ern|wards?)?|(?:top|bottom|upper|lower)(?:left|right))\b",
    re.IGNORECASE,
)


def names_side(text: str) -> bool:
    """True where a word of the text names a side, or a turn that a mirror reverses. In doubt, it is one.

    `right` counts in every sense ("right now"), as `mirror` does for the thing: such a sample is only never mirrored.
    """
    return _SIDES.search(text) is not None
