"""Noun phrases of a caption, found with WordNet and a few rules of order: no tagger, no parser.

Captions are short and plain, so closed word classes, WordNet's sense counts and the neighbours of a word decide its
kind. A phrase that stays ambiguous is left out: a missing edit costs less than a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.wordnet_edits.grammar import INDEFINITE_ARTICLES, Token, pluralise, tokenise, word_set

if TYPE_CHECKING:
    from models.language.wordnet import WordNet

SINGULAR_DETERMINERS = INDEFINITE_ARTICLES | {"this", "that", "each", "every", "another", "one", "1"}
PLURAL_DETERMINERS = word_set(
    "these those many several few both two three four five six seven eight nine ten eleven twelve dozen dozens"
)
OTHER_DETERMINERS = word_set("the his her its their our my your some any no all other")
DETERMINERS = SINGULAR_DETERMINERS | PLURAL_DETERMINERS | OTHER_DETERMINERS
FUNCTION_WORDS = word_set(
    "about above across after against along alongside amid amidst among amongst and are around as at away be because "
    "been before behind being below beneath beside besides between beyond but by can covered down during for from "
    "front he her here him i in inside into is it like near nearby next not of off on onto or out outside over past "
    "she than that them then there they through to together toward towards under underneath until up upon very via "
    "was we were what when where which while who whose will with within without you"
)
"""Words that end a noun phrase; prepositions, pronouns, auxiliaries, and adverbs of place."""

PLACES = word_set("back bottom center centre corner edge end front inside left middle outside right side top")
"""Nouns that say where: what comes after their "of" is a thing of its own."""

ADVERBS_BEFORE_ADJECTIVES = frozenset({"very", "really", "brightly", "partially"})
NEVER_VERBS = frozenset(
    {"building", "evening", "morning", "painting", "ceiling", "wedding", "clothing", "railing", "leaves"}
)
COLOUR_ROOTS = ("chromatic.a.03", "achromatic.a.01", "metallic.a.01")

ADJECTIVE, NOUN, DETERMINER, SKIPPED, OUTSIDE = "adjective", "noun", "determiner", "skipped", "outside"


@dataclass(frozen=True, slots=True)
class Word:
    """A token of a noun phrase and what it is there."""

    token: Token
    tag: str


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Determiner, modifiers and head: "a" + "large", "blue" + "fire truck".

    `head` spans the words WordNet knows as one noun, whose singular is `lemma`; `lemma` of the last word alone is
    `noun`. `modifiers` are the words before the head. `next_word` follows the phrase, `previous_word` precedes it.
    """

    determiner: str
    modifiers: tuple[Word, ...]
    head: tuple[Token, ...]
    lemma: str
    noun: str
    is_plural: bool
    previous_word: str
    next_word: str

    @property
    def start(self) -> int:
        """Where the head begins in the caption."""
        return self.head[0].start

    @property
    def end(self) -> int:
        """Where the head ends in the caption."""
        return self.head[-1].end


def noun_phrases(caption: str, wordnet: WordNet) -> list[NounPhrase]:
    """The noun phrases of a caption, in order."""
    tokens = tokenise(caption)
    phrases: list[NounPhrase | None] = []
    current: list[Word] = []
    determiner, before = "", ""
    for index, token in enumerate(tokens):
        starts_anew = index > 0 and bool(caption[tokens[index - 1].end : token.start].strip())
        tag = _tag(tokens, index, [] if starts_anew else current, "" if starts_anew else determiner, wordnet)
        if starts_anew or tag in {DETERMINER, OUTSIDE}:
            phrases.append(_phrase(determiner, current, before, token.lower, wordnet))
        if starts_anew or tag == OUTSIDE or (tag == DETERMINER and current):
            current, determiner, before = [], "", ""
        if not current and not determiner:
            before = _before(tokens, index)
        if tag == DETERMINER:
            determiner = determiner if determiner and token.lower in OTHER_DETERMINERS else token.lower
        elif tag in {ADJECTIVE, NOUN}:
            current.append(Word(token, tag))
    phrases.append(_phrase(determiner, current, before, "", wordnet))
    return [phrase for phrase in phrases if phrase is not None]


def _before(tokens: list[Token], index: int) -> str:
    """The word before a phrase. Before "in front of" it is the noun, as that "of" names no part."""
    words = [token.lower for token in tokens[max(0, index - 2) : index]]
    return words[-2] if len(words) == 2 and words[-1] == "of" and words[0] in PLACES else (words or [""])[-1]


def _joins_adjectives(token: Token, current: list[Word], following: Token | None, wordnet: WordNet) -> bool:
    """True for the "and" of "a red and yellow flower"."""
    if token.lower != "and" or not current or following is None:
        return False
    return all(word.tag == ADJECTIVE for word in current) and _is_adjective(following.lower, wordnet)


def _tag(tokens: list[Token], index: int, current: list[Word], determiner: str, wordnet: WordNet) -> str:
    """The kind of a token, given the phrase so far: it continues the phrase, begins another, or is outside."""
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if token.lower in DETERMINERS:
        return DETERMINER
    if _joins_adjectives(token, current, following, wordnet):
        return ADJECTIVE
    if token.lower in ADVERBS_BEFORE_ADJECTIVES and not current:
        return SKIPPED
    if token.lower in FUNCTION_WORDS or not any(character.isalpha() for character in token.lower):
        return OUTSIDE
    return _tag_content(token.lower, following, current, determiner, wordnet)


def _tag_content(word: str, following: Token | None, current: list[Word], determiner: str, wordnet: WordNet) -> str:
    follows_noun = bool(current) and current[-1].tag == NOUN
    if follows_noun and _is_collocation([w.token.lower for w in current if w.tag == NOUN] + [word], wordnet):
        return NOUN
    if _is_participle(word, wordnet):
        leads_on = following is not None and _may_be_in_phrase(following.lower, wordnet)
        is_verb = follows_noun or not leads_on or (word.endswith("ing") and not determiner and not current)
        return OUTSIDE if is_verb else ADJECTIVE
    is_noun = wordnet.lemma(word, "n") is not None
    if follows_noun and _reads_as_verb(word, current, determiner, wordnet):
        return OUTSIDE
    shades = following is not None and is_colour(following.lower, wordnet) and bool(wordnet.synsets(word, "a"))
    if _is_adjective(word, wordnet) or shades:
        leads_on = following is not None and _may_be_in_phrase(following.lower, wordnet)
        return OUTSIDE if follows_noun and not leads_on else ADJECTIVE  # "a street full of cars"
    return NOUN if is_noun else OUTSIDE


def _is_collocation(words: list[str], wordnet: WordNet) -> bool:
    return wordnet.lemma(" ".join(words[-2:]), "n") is not None


def _may_be_in_phrase(word: str, wordnet: WordNet) -> bool:
    if word in FUNCTION_WORDS or word in DETERMINERS:
        return False
    return wordnet.lemma(word, "n") is not None or _is_adjective(word, wordnet)


def _is_participle(word: str, wordnet: WordNet) -> bool:
    """True for forms such as parked, fallen, sitting, whose verb is another word. Colours and plain nouns are not."""
    if word in NEVER_VERBS or not word.endswith(("ing", "ed", "en")):
        return False
    verb = wordnet.lemma(word, "v")
    return verb is not None and verb != word and wordnet.count(word, "n") <= wordnet.count(verb, "v")


def _reads_as_verb(word: str, current: list[Word], determiner: str, wordnet: WordNet) -> bool:
    """True for "rides" in "a man rides a bike": after a complete phrase, more often a verb."""
    verb = wordnet.lemma(word, "v")
    if verb is None or word in NEVER_VERBS:
        return False
    noun = wordnet.lemma(word, "n")
    last = current[-1].token.lower
    is_plural = wordnet.lemma(last, "n") != last
    if not determiner and not is_plural:
        return False  # "oak leaves": a bare singular is no phrase yet
    agrees = word == verb if is_plural else word != verb
    return agrees and (noun is None or wordnet.count(verb, "v") > wordnet.count(noun, "n"))


def _is_adjective(word: str, wordnet: WordNet) -> bool:
    """True when the word is at least as often an adjective as a noun, or names a colour."""
    if not wordnet.synsets(word, "a"):
        return False
    noun = wordnet.lemma(word, "n")
    if noun is None or is_colour(word, wordnet):
        return True
    return wordnet.count(word, "a") >= max(1, wordnet.count(noun, "n"))


def is_colour(word: str, wordnet: WordNet) -> bool:
    """True when an adjective sense of the word is a colour in WordNet."""
    senses = wordnet.synsets(word, "a")[:3]
    if any(sense.name() in {"black.a.01", "white.a.01"} for sense in senses):
        return True
    return any(similar.name() in COLOUR_ROOTS for sense in senses for similar in sense.similar_tos())


def _phrase(determiner: str, words: list[Word], before: str, following: str, wordnet: WordNet) -> NounPhrase | None:
    kept = list(words)
    while kept and kept[-1].tag == ADJECTIVE and wordnet.lemma(kept[-1].token.lower, "n") is None:
        kept.pop()
    if not kept or (len(kept) == 1 and kept[0].tag == ADJECTIVE and not determiner):
        return None
    size, lemma = _head(kept, wordnet)
    if lemma is None:
        return None
    last = kept[-1].token.lower
    noun = wordnet.lemma(last, "n") or last
    plural = noun != last or determiner in PLURAL_DETERMINERS or pluralise(noun) == noun
    return NounPhrase(
        determiner=determiner,
        modifiers=tuple(kept[:-size]),
        head=tuple(word.token for word in kept[-size:]),
        lemma=lemma,
        noun=noun,
        is_plural=plural and determiner not in SINGULAR_DETERMINERS,
        previous_word=before,
        next_word=following,
    )


def _head(words: list[Word], wordnet: WordNet) -> tuple[int, str | None]:
    """How many last words are one noun of WordNet, and its singular. Adjectives join only fixed compounds."""
    for size in (3, 2):
        if len(words) >= size:
            lemma = wordnet.lemma(" ".join(word.token.lower for word in words[-size:]), "n")
            if lemma is not None and not _is_free(words[-size:], lemma, wordnet):
                return size, lemma
    return 1, wordnet.lemma(words[-1].token.lower, "n")


def _is_free(words: list[Word], lemma: str, wordnet: WordNet) -> bool:
    """True for entries such as "old man", an adjective and a noun that still mean what they say apart."""
    if words[0].tag != ADJECTIVE:
        return False
    noun = wordnet.lemma(words[-1].token.lower, "n")
    if noun is None:
        return False
    compound, senses = wordnet.synsets(lemma, "n")[0], wordnet.synsets(noun, "n")
    kin = wordnet.ancestors(compound)
    if compound.lexname() in {"noun.person", "noun.artifact", "noun.object"} and any(s in kin for s in senses):
        return True
    named = senses if compound.lexname() == "noun.animal" else senses[:1]
    return is_colour(words[0].token.lower, wordnet) and not any(sense in kin for sense in named)
