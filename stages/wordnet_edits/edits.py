"""Find the words of a caption that can change, with their replacements, as `Site`s.

One noun becomes a co-hyponym (`sisters`), one colour another colour, one adjective its antonym. `visual_kinds` decides
what suits what; `requests` puts the edit into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.wordnet_edits.adjectives import AdjectiveFinder, takes_article
from stages.wordnet_edits.grammar import pluralise, replace_span, tokenise, word_set
from stages.wordnet_edits.phrases import ADJECTIVE, NounPhrase, noun_phrases
from stages.wordnet_edits.requests import Caption, Named, Option, Site
from stages.wordnet_edits.visual_kinds import (
    ANTONYM_NOUNS,
    FLAT,
    GENDERED_WORDS,
    HOLLOW,
    MASS_KINDS,
    MOUNTS,
    OWN_COLOURS,
    ROOM_FOR_ONE,
)

if TYPE_CHECKING:
    from stages.wordnet_edits.sisters import Sisters

HOLDS = frozenset({"filled", "full", "of"})
"""Words after a noun that say what is in it."""

CROWDS = frozenset({"couple", "crowd", "family", "group", "people", "team"})
"""Singular in form, several in fact."""

POSSESSIVES = word_set("his her its their my our your")


class EditFinder:
    """Finds the edits of a caption, the same for the same caption and the same `sisters`."""

    def __init__(self, sisters: Sisters, limit: int) -> None:
        """Offer the `limit` best replacements of each site."""
        self.sisters = sisters
        self.wordnet = sisters.wordnet
        self.limit = limit
        self._adjectives = AdjectiveFinder(sisters)

    def has_noun_phrase(self, caption: str) -> bool:
        """True when the caption has any noun phrase, editable or not."""
        return bool(noun_phrases(caption, self.wordnet))

    def sites(self, caption: str) -> list[Site]:
        """Every place of the caption that can change, in order."""
        tokens = tuple(tokenise(caption))
        words = [token.lower for token in tokens]
        lemmas = [self.wordnet.lemma(word, "n") or word for word in words]
        phrases = noun_phrases(caption, self.wordnet)
        known = Caption(caption, tokens, frozenset(words) | frozenset(lemmas), any(map(self._is_crowd, phrases)))
        is_title = all(token.text[0].isupper() for token in tokens if len(token.text) > 3 or token.start == 0)
        sites: list[Site] = []
        for phrase in phrases:
            if lemmas.count(phrase.noun) > 1 or (not is_title and _is_name(known, phrase)):
                continue  # "the dog" would not say which
            sites += self._noun_sites(known, phrase)
            sites += self._adjectives.sites(known, phrase)
        return sorted((site for site in sites if site.options), key=lambda site: (site.start, site.edit_type))

    def _is_crowd(self, phrase: NounPhrase) -> bool:
        senses = self.wordnet.synsets(phrase.lemma, "n")[:1]
        living = bool(senses) and senses[0].lexname() in {"noun.animal", "noun.person", "noun.group"}
        return living and (phrase.is_plural or phrase.lemma in CROWDS)

    def _noun_sites(self, known: Caption, phrase: NounPhrase) -> list[Site]:
        if not self._modifiers_carry_over(phrase):
            return self._modifier_sites(known, phrase)
        if self._is_bound(phrase):
            return []
        words = self._persons(known, phrase) or self.sisters.replacements(phrase.lemma)
        article = takes_article(phrase, self.sisters)
        source = Named.of(known.text[phrase.start : phrase.end].lower(), takes_article=article)
        options = []
        for word in words:
            if not _repeats(word, known, phrase) and self._stands_there(word, known, phrase):
                text = pluralise(word) if phrase.is_plural else word
                caption = replace_span(known.text, phrase.start, phrase.end, text)
                options.append(Option(caption, source, Named.of(text, takes_article=article)))
        return [Site(phrase.start, "replace_noun", tuple(options[: self.limit]))]

    def _modifiers_carry_over(self, phrase: NounPhrase) -> bool:
        """True unless a noun before the head makes a compound with it. "mother bear" and "leather sofa" do not."""
        for word in phrase.modifiers:
            if word.tag == ADJECTIVE:
                continue
            senses = self.wordnet.synsets(self.wordnet.lemma(word.token.lower, "n") or "", "n")[:1]
            lexname = senses[0].lexname() if senses else ""
            is_animal = self._lexname(phrase) == "noun.animal"
            if lexname != "noun.substance" and not (is_animal and lexname == "noun.person"):
                return False
        return True

    def _is_bound(self, phrase: NounPhrase) -> bool:
        """True when the words around the noun hold it fast: "in bed", "the trunk of a car", "his dog"."""
        lexname = self._lexname(phrase)
        if phrase.determiner == "" and not phrase.is_plural and phrase.previous_word and lexname != "noun.food":
            return True
        if phrase.previous_word == "of" and lexname not in {"noun.animal", "noun.food", "noun.plant"}:
            return True
        return lexname == "noun.animal" and phrase.determiner in POSSESSIVES

    def _lexname(self, phrase: NounPhrase) -> str:
        synset, _ = self.sisters.class_of(phrase.lemma)
        return "" if synset is None else str(synset.lexname())

    def _stands_there(self, word: str, known: Caption, phrase: NounPhrase) -> bool:
        """False when the words around the noun rule the replacement out."""
        holds = phrase.previous_word in {"from", "in", "inside", "into", "on"} or phrase.next_word in HOLDS
        if holds and ((phrase.noun in HOLLOW and word in FLAT) or (phrase.noun in FLAT and word in HOLLOW)):
            return False
        if phrase.determiner == "" and not phrase.is_plural and self._lexname(phrase) == "noun.food":
            return bool(self.sisters.class_of(word)[1] & MASS_KINDS)
        if phrase.previous_word in {"ride", "rides", "riding"} and self._lexname(phrase) == "noun.animal":
            return word in MOUNTS
        if phrase.previous_word in {"in", "inside"} and word in FLAT:
            return False
        if word in OWN_COLOURS and any(
            self._adjectives.is_colour(modifier.token.lower) for modifier in phrase.modifiers
        ):
            return False
        return not (word in ROOM_FOR_ONE and known.has_crowd and not phrase.is_plural)

    def _modifier_sites(self, known: Caption, phrase: NounPhrase) -> list[Site]:
        """Of "dahlia flower" the modifier, when it names a sort of the head. Other compounds stay as they are."""
        modifier = phrase.modifiers[-1].token
        senses = self.wordnet.synsets(modifier.lower, "n")[:1]
        heads = self.wordnet.synsets(phrase.noun, "n")[:1]
        if not senses or not heads or heads[0] not in self.wordnet.ancestors(senses[0]):
            return []
        rest = known.text[modifier.end : phrase.end].lower()
        article = takes_article(phrase, self.sisters)
        source = Named.of(modifier.lower + rest, takes_article=article)
        options = [
            Option(
                replace_span(known.text, modifier.start, modifier.end, word),
                source,
                Named.of(word + rest, takes_article=article),
            )
            for word in self.sisters.replacements(modifier.lower)
            if not _repeats(word, known, phrase) and not word.endswith(phrase.noun)
        ]
        return [Site(modifier.start, "replace_noun", tuple(options[: self.limit]))]

    def _persons(self, known: Caption, phrase: NounPhrase) -> tuple[str, ...]:
        """The antonym of man, woman, boy or girl, unless the caption says more of the person."""
        pairs = {pair for pair in ANTONYM_NOUNS if phrase.lemma in pair}
        if not pairs or known.present & GENDERED_WORDS:
            return ()
        antonyms = self.wordnet.antonyms(phrase.lemma, self.wordnet.synsets(phrase.lemma, "n")[0])
        return tuple(word for word in antonyms for pair in pairs if word in pair)


def _repeats(word: str, known: Caption, phrase: NounPhrase) -> bool:
    """True when the caption has the word already, or names the thing by the last word of it."""
    last = word.rsplit(" ", 1)[-1]
    return word in known.present or pluralise(word) in known.present or (last in known.present and last != phrase.noun)


def _is_name(known: Caption, phrase: NounPhrase) -> bool:
    """True when the phrase has a capital inside a sentence, or is right before one."""
    start = phrase.modifiers[0].token.start if phrase.modifiers else phrase.start
    following = [token for token in known.tokens if token.start == phrase.end + 1]
    inside = [token for token in known.tokens if token.start >= start and token.end <= phrase.end]
    return any(token.text[token.start == 0 :] != token.lower[token.start == 0 :] for token in inside + following)
