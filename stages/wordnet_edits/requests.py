"""An edit and its words: "change the bus to a train", "make the red car blue".

A request is built from a template and the names of the two sides; its reverse is the same template with the sides
swapped, so the pair can never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.wordnet_edits.grammar import Token, indefinite

NOUN_TEMPLATES = (
    "change the {source} to {target}",
    "replace the {source} with {target}",
    "turn the {source} into {target}",
)
ADJECTIVE_TEMPLATES = (
    "make the {bare} {adjective}",
    "change the {source} to {target}",
    "replace the {source} with {target}",
)
COLOUR_TEMPLATES = (*ADJECTIVE_TEMPLATES, "turn the {source} {adjective}")
AFTER_NOUN = "{adjective}"
"""Templates with this need an adjective that can follow its noun."""


@dataclass(frozen=True, slots=True)
class Named:
    """One side of an edit: `phrase` names it ("red car"), `indefinite` with its article ("a red car").

    Where an adjective changes, `bare` is the phrase without it ("car") and `adjective` is it; otherwise both are empty.
    """

    phrase: str
    indefinite: str
    bare: str = ""
    adjective: str = ""

    @classmethod
    def of(cls, phrase: str, *, takes_article: bool, bare: str = "", adjective: str = "") -> Named:
        """A side named `phrase`. Plurals and mass nouns take no article."""
        return cls(phrase, indefinite(phrase) if takes_article else phrase, bare, adjective)


def templates_for(edit_type: str, source: Named) -> tuple[str, ...]:
    """The templates that fit an edit of `source`."""
    if edit_type == "replace_noun":
        return NOUN_TEMPLATES
    templates = COLOUR_TEMPLATES if edit_type == "change_colour" else ADJECTIVE_TEMPLATES
    return tuple(template for template in templates if source.bare or AFTER_NOUN not in template)


def request(template: str, source: Named, target: Named) -> str:
    """The instruction that turns `source` into `target`. Swap them for the instruction that undoes it."""
    return template.format(source=source.phrase, target=target.indefinite, bare=source.bare, adjective=target.adjective)


@dataclass(frozen=True, slots=True)
class Option:
    """One replacement of a site: the caption it gives and the two sides as the request names them."""

    target_caption: str
    source: Named
    target: Named


@dataclass(frozen=True, slots=True)
class Site:
    """A place of the caption that can change, its kind of edit, and its replacements, best first."""

    start: int
    edit_type: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and what its edits must not repeat: its words and their singulars."""

    text: str
    tokens: tuple[Token, ...]
    present: frozenset[str]
    has_crowd: bool
