"""An edit as the rules for reverse instructions read it: two captions, the instruction, and the words of both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from stages.language_edits.alignment import align
from stages.language_edits.words import words
from stages.wordnet_edits.grammar import word_set

if TYPE_CHECKING:
    from stages.language_edits.alignment import Change
    from stages.wordnet_edits.grammar import Token

ADD_VERBS = word_set("add insert include introduce put place")
REMOVE_VERBS = word_set("remove delete erase discard take")
CHANGE_VERBS = word_set(
    "replace swap exchange substitute switch turn change transform convert make paint dye color colour recolor "
    "recolour repaint have let set put move dress render"
)
"""First words of an instruction that keep their sense when what it names is exchanged for what was there."""
ARTICLES = word_set("a an the")
DETERMINERS = ARTICLES | word_set("some another one his her its their my your this that these those")
LONGEST_PHRASE = 6
"""Words of a phrase that is exchanged or added; a longer one is more than one change."""
OPENING = re.compile(
    r"^(?:there (?:is|are) |this is |(?:an? |the )?(?:photo|photograph|picture|image) (?:of|showing) )+", re.IGNORECASE
)
"""Beginnings of captions that name no part of the image."""
LEADING = re.compile(r"^(?:please|now|just|can you|could you|let's|lets)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Triple:
    """An edit: the two captions and the instruction, blanks and a full stop at its ends left out."""

    source: str
    target: str
    instruction: str

    @cached_property
    def change(self) -> Change:
        """The alignment of the two captions."""
        return align(self.source, self.target)

    @cached_property
    def plain(self) -> str:
        """The instruction without courtesies and punctuation at its ends."""
        return LEADING.sub("", self.instruction.strip()).rstrip(" .!?;,")

    @cached_property
    def verb(self) -> str:
        """The first word of the instruction."""
        return next(iter(words(self.plain)), "")


def without_opening(caption: str) -> str:
    """The caption without "a photo of" and the like before what is on the image."""
    return OPENING.sub("", caption)


def text_of(caption: str, tokens: list[Token]) -> str:
    """The words as the caption has them, without the capital of a first word."""
    text = caption[tokens[0].start : tokens[-1].end]
    is_first = tokens[0].start == 0 and tokens[0].text[1:].islower()
    return text[:1].lower() + text[1:] if is_first else text
