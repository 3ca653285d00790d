"""Find the colours and other adjectives of a noun phrase that can change, with their replacements.

A colour becomes another that the thing can have, an adjective its direct antonym in WordNet where the noun suits
both. `stages.wordnet_edits.visual_kinds` says what a thing can have and what suits it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.wordnet_edits.grammar import INDEFINITE_ARTICLES, replace_span
from stages.wordnet_edits.phrases import ADJECTIVE, NOUN, NounPhrase, Word, is_colour
from stages.wordnet_edits.requests import Caption, Named, Option, Site
from stages.wordnet_edits.visual_kinds import (
    ATTRIBUTES,
    BASIC_COLOURS,
    FOLIAGE,
    FUR,
    LAND,
    MASS_KINDS,
    MASS_NOUNS,
    NATURAL_COLOURS,
    OTHER_COLOURS,
    OWN_COLOURS,
    PETALS,
    Fit,
)

if TYPE_CHECKING:
    from stages.wordnet_edits.sisters import Sisters

SHADES = frozenset({"bright", "dark", "deep", "light", "pale"})
"""Adjectives that belong to the colour after them."""


def takes_article(phrase: NounPhrase, sisters: Sisters) -> bool:
    """True when a request says "a" before what replaces the phrase: not for plurals and what cannot be counted."""
    if phrase.is_plural or phrase.noun in MASS_NOUNS:
        return False
    if phrase.determiner in INDEFINITE_ARTICLES:
        return True
    synset, kinds = sisters.class_of(phrase.lemma)
    is_food = synset is not None and synset.lexname() == "noun.food"
    return not (is_food and (not phrase.determiner or kinds & (MASS_KINDS - {"slice"})))


class AdjectiveFinder:
    """Finds the edits of the adjectives of a noun phrase, the same for the same caption and the same `sisters`."""

    def __init__(self, sisters: Sisters) -> None:
        """Ask `sisters` for the class of a noun."""
        self.sisters = sisters
        self.wordnet = sisters.wordnet

    def sites(self, known: Caption, phrase: NounPhrase) -> list[Site]:
        """Every colour and adjective of the phrase that can change."""
        sites = []
        for index, word in enumerate(phrase.modifiers):
            if word.tag != ADJECTIVE:
                continue
            if self.is_colour(word.token.lower):
                if self._is_shade(phrase, index):
                    continue
                colours = self._colours(known, phrase)
                sites.append(self._adjective_site(known, phrase, index, colours, "change_colour"))
            else:
                antonyms = self._antonyms(known, phrase, index)
                sites.append(self._adjective_site(known, phrase, index, antonyms, "change_attribute"))
        return sites

    def _is_shade(self, phrase: NounPhrase, index: int) -> bool:
        """True for colours that lean on a neighbour, as in "navy blue", and for the second of "red and yellow"."""
        before = phrase.modifiers[index - 1] if index else None
        after = phrase.modifiers[index + 1].token.lower if index + 1 < len(phrase.modifiers) else ""
        if before is not None and (before.tag == NOUN or before.token.lower == "and"):
            return True
        return self.is_colour(after) or (before is not None and self.is_colour(before.token.lower))

    def _adjective_site(
        self, known: Caption, phrase: NounPhrase, index: int, words: tuple[str, ...], edit_type: str
    ) -> Site:
        """Replace one modifier. The request names everything from it to the noun."""
        token = phrase.modifiers[index].token
        rest = known.text[token.end : phrase.end].lower()
        shade = phrase.modifiers[index - 1].token.lower if index else ""
        shaded = f"{shade} " if shade in SHADES else ""
        article = takes_article(phrase, self.sisters)
        bare = "" if self._leans_on_next(phrase, index) else rest.strip()
        source = Named.of(shaded + token.lower + rest, takes_article=article, bare=bare, adjective=shaded + token.lower)
        options = [
            Option(
                replace_span(known.text, token.start, token.end, word),
                source,
                Named.of(shaded + word + rest, takes_article=article, bare=bare, adjective=shaded + word),
            )
            for word in words
        ]
        return Site(token.start, edit_type, tuple(options))

    def _leans_on_next(self, phrase: NounPhrase, index: int) -> bool:
        """True for "dark" in "dark green" and "red" in "red and yellow": it cannot follow the noun alone."""
        following = phrase.modifiers[index + 1].token.lower if index + 1 < len(phrase.modifiers) else ""
        return following == "and" or self.is_colour(following)

    def is_colour(self, word: str) -> bool:
        """True when the word names the colour of a thing."""
        return word in BASIC_COLOURS or (word in OTHER_COLOURS and is_colour(word, self.wordnet))

    def _colours(self, known: Caption, phrase: NounPhrase) -> tuple[str, ...]:
        """Colours the head may take on, without those the caption has."""
        natural = self._natural_colours(phrase)
        return tuple(c for c in natural if c not in known.present and self.sisters.is_in_corpus(c))

    def _natural_colours(self, phrase: NounPhrase) -> tuple[str, ...]:
        if phrase.noun in NATURAL_COLOURS:
            return NATURAL_COLOURS[phrase.noun]
        synset, kinds = self.sisters.class_of(phrase.lemma)
        if synset is None and phrase.lemma != phrase.noun:
            return ()
        if (
            synset is None
            or phrase.lemma in OWN_COLOURS
            or synset.lexname() in {"noun.food", "noun.person", "noun.body"}
        ):
            return ()
        if "flower" in kinds:
            return PETALS
        if synset.lexname() == "noun.animal":
            mammal = self.wordnet.synset("mammal.n.01")
            return FUR if mammal in self.wordnet.ancestors(synset) else BASIC_COLOURS
        by_class = {"noun.plant": FOLIAGE, "noun.object": LAND, "noun.location": LAND, "noun.artifact": BASIC_COLOURS}
        return LAND if "green space" in kinds else by_class[synset.lexname()]

    def _antonyms(self, known: Caption, phrase: NounPhrase, index: int) -> tuple[str, ...]:
        """Direct antonyms of a modifier that suit the head as well as it does."""
        word = phrase.modifiers[index].token.lower
        found = {other for sense in self.wordnet.synsets(word, "a") for other in self.wordnet.antonyms(word, sense)}
        return tuple(
            other
            for other in sorted(found)
            for pair, fit in ATTRIBUTES.items()
            if {word, other} == set(pair)
            and other not in known.present
            and self._suits(fit, phrase, index)
            and self.sisters.is_in_corpus(other)
        )

    def _suits(self, fit: Fit, phrase: NounPhrase, index: int) -> bool:
        if phrase.noun in fit.never or phrase.next_word == "of":
            return False
        if fit.adjacent and index + 1 < len(phrase.modifiers):
            return False
        if not fit.after_in and phrase.previous_word in {"in", "inside", "through"}:
            return False
        following: Word | None = phrase.modifiers[index + 1] if index + 1 < len(phrase.modifiers) else None
        if fit.before_colour and following is not None and self.is_colour(following.token.lower):
            return True
        if phrase.noun in fit.nouns:
            return True
        synset, kinds = self.sisters.class_of(phrase.lemma)
        lexnames = {synset.lexname().removeprefix("noun.")} if synset is not None else self._person_class(phrase)
        return bool(lexnames & set(fit.classes) or kinds & set(fit.kinds))

    def _person_class(self, phrase: NounPhrase) -> set[str]:
        senses = self.wordnet.synsets(phrase.lemma, "n")[:1]
        return {"person"} if senses and senses[0].lexname() == "noun.person" else set()
