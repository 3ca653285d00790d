"""Write the reverse of an instruction by rule, where captions and instruction leave no doubt, else nothing.

Pure functions of text. All words of a result come from the instruction and the two captions, so that it invents
nothing; a rule that is not sure of its phrase gives None, and a model is asked. English only.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from stages.language_edits.words import COLOURS, LINK_WORDS, POSITION_STEMS, content, stem, stems_of, words
from stages.reverse_edits.exchange import reverse_of_exchange
from stages.reverse_edits.triple import (
    ADD_VERBS,
    CHANGE_VERBS,
    DETERMINERS,
    LONGEST_PHRASE,
    REMOVE_VERBS,
    Triple,
    text_of,
    without_opening,
)
from stages.wordnet_edits.grammar import Token, tokenise, word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

BRINGERS = word_set("with and wearing holding carrying next to beside")
"""Words of a caption between a thing and another one that an edit brings or takes away."""
WORN = frozenset({stem("wearing")})
"""An act that comes back with the thing alone: who gets a hat wears it, who gets a bowl need not hold it."""
SEVERAL = frozenset({"and", "with", "a", "an", "some"})
DEFINITE = word_set("the its his her their this that these those my your one")
STYLE_OPENINGS = ("in the style of", "in the manner of", "as if painted by", "as painted by", "painted by", "drawn by")
STYLE_WORDS = word_set(
    "style painting sketch drawing watercolor watercolour cartoon anime comic mosaic engraving etching illustration "
    "pastel gouache fresco woodcut linocut pixel render lithograph collage origami claymation manga graffiti"
)
STYLE_VERBS = CHANGE_VERBS | word_set("as in draw stylize stylise")
STYLE_STARTS = STYLE_WORDS | word_set("as in a an")
NOUNS_IN_ING = word_set("building ceiling clothing drawing king painting ring sibling string swing wedding wing")


def reverse_by_rule(source: str, target: str, instruction: str) -> str | None:
    """The instruction that turns `target` back into `source`, or None where no rule is sure."""
    triple = Triple(without_opening(source), without_opening(target), instruction)
    if not triple.plain or triple.change.is_none:
        return None
    rules = (_of_addition, _of_removal, _of_style, reverse_of_exchange)
    found = next((text for rule in rules if (text := rule(triple)) is not None), None)
    return None if found is None else _as_sentence(found, instruction)


def _as_sentence(text: str, like: str) -> str:
    """The text with the first letter and the full stop that the instruction has."""
    stop = "." if like.rstrip().endswith(".") else ""
    return f"{text[:1].upper() if like.strip()[:1].isupper() else text[:1].lower()}{text[1:]}{stop}"


def _of_addition(triple: Triple) -> str | None:
    """Add a hat to the man -> remove the hat. Nothing may be lost, and the thing must be new in the target caption."""
    change = triple.change
    if set(change.removed) - POSITION_STEMS:
        return None
    named = _thing_after_verb(triple.plain) if triple.verb in ADD_VERBS else None
    if named is not None and _is_new(named[-1], change.added, triple.source):
        return f"remove the {' '.join(named)}"
    places = [place for place in change.places if place.j1 > place.j0]
    thing = _thing_in(change.target[places[0].j0 : places[0].j1]) if len(places) == 1 and places[0].j0 else None
    if thing is None or not _is_new(thing.noun, change.added, triple.source) or not _is_said(thing, triple):
        return None
    behind = {token.lower for token in change.target[places[0].j0 : places[0].j1] if token.start > thing.words[-1].end}
    if behind & SEVERAL or _is_definite(thing.noun, triple.plain):
        return None  # another thing came too, or this one was there and changed: "dent the hood"
    return f"remove the {text_of(triple.target, thing.words)}"


def _is_new(noun: str, added: Sequence[str], source: str) -> bool:
    return stem(noun) in added and stem(noun) not in stems_of(words(source))


@dataclass(frozen=True)
class _Thing:
    """A thing in a part of a caption: its words without the article, which is "" where there is none, and its noun."""

    words: list[Token]
    article: str
    noun: str


def _thing_in(tokens: Sequence[Token]) -> _Thing | None:
    """The thing of "with a vase of tulips on the table", or None where the part begins in another way."""
    start = 0
    while start < len(tokens) and tokens[start].lower in BRINGERS:
        start += 1
    article = tokens[start].lower if 0 < start < len(tokens) and tokens[start].lower in ("a", "an", "some") else ""
    start_of_words = start + bool(article)
    found: list[Token] = []
    for token in tokens[start_of_words:]:
        is_of = token.lower == "of" and found
        acts = found and token.lower.endswith("ing") and token.lower not in NOUNS_IN_ING
        if (token.lower in LINK_WORDS and not is_of) or acts:
            break
        found.append(token)
    if not start or not found or len(found) > LONGEST_PHRASE or found[-1].lower == "of":
        return None
    before_of = list(takewhile(lambda token: token.lower != "of", found))
    return _Thing(found, article, before_of[-1].lower)


def _is_said(thing: _Thing, triple: Triple) -> bool:
    """True where the instruction names the thing, no other one beside it, and no style."""
    is_style = bool({token.lower for token in thing.words} & STYLE_WORDS)
    said = words(triple.plain)
    return stem(thing.noun) in stems_of(said) and "and" not in said and not is_style


def _is_definite(noun: str, instruction: str) -> bool:
    """True where the instruction speaks of the thing as of one that is there: "the hood", "one leg"."""
    said = words(instruction)
    at = next((index for index, word in enumerate(said) if stem(word) == stem(noun)), 0)
    before = takewhile(lambda word: word not in LINK_WORDS or word in DEFINITE, reversed(said[:at]))
    return bool(DEFINITE & set(before))


def _thing_after_verb(instruction: str) -> list[str] | None:
    """The words of the thing behind the verb, its article left out, or None where it is none or several."""
    tokens = [token.lower for token in tokenise(instruction)][1:]
    if tokens and tokens[0] in DETERMINERS:
        tokens = tokens[1:]
    end = next((index for index, word in enumerate(tokens) if word in LINK_WORDS), len(tokens))
    several = end < len(tokens) and tokens[end] in ("and", "or", "of")
    named = [word for word in tokens[:end] if word != "away"]
    if not named or several or "," in instruction or len(named) > LONGEST_PHRASE:
        return None
    acts = len(named) > 1 and named[-1].endswith("ing") and named[-1] not in NOUNS_IN_ING
    return None if acts else named  # of "a clock hanging over the door" the last word is no noun


def _of_removal(triple: Triple) -> str | None:
    """Remove the dog -> add a dog, in the words of the source caption, its place there included."""
    places = [place for place in triple.change.places if place.i1 > place.i0]
    if set(triple.change.added) - POSITION_STEMS or len(places) != 1:
        return None
    tokens, (start, end) = triple.change.source, (places[0].i0, places[0].i1)
    named = _thing_after_verb(triple.plain) if triple.verb in REMOVE_VERBS else None
    if named is None:
        return _of_loss(triple, tokens[start:end])
    nouns = [index for index in range(start, end) if stem(tokens[index].lower) == stem(named[-1])]
    if len(nouns) != 1:
        return None
    first = _start_of_phrase(tokens, nouns[0])
    while tokens[end - 1].lower in LINK_WORDS:
        end -= 1
    before, behind = _content_of(tokens[start:first]), _content_of(tokens[nouns[0] + 1 : end])
    if end - first > LONGEST_PHRASE + 1 or before - WORN or not behind <= set(content(triple.target)):
        return None  # more went than the thing and its place
    return f"add {text_of(triple.source, list(tokens[first:end]))}"


def _of_loss(triple: Triple, gone: Sequence[Token]) -> str | None:
    """Get rid of the taxi -> add a taxi, where "and a taxi" is all that the caption lost."""
    thing = _thing_in(gone)
    if thing is None or not _is_said(thing, triple) or not _is_new(thing.noun, triple.change.removed, triple.target):
        return None
    before = _content_of([token for token in gone if token.end < thing.words[0].start])
    behind = _content_of([token for token in gone if token.start > thing.words[-1].end])
    if before - WORN or not behind <= set(content(triple.target)):
        return None  # more went than the thing and its place
    return f"add {thing.article} {text_of(triple.source, thing.words)}".replace("  ", " ")


def _content_of(tokens: Sequence[Token]) -> set[str]:
    """Stems of the words that name something that can be seen."""
    return set(stems_of(tuple(token.lower for token in tokens)))


def _start_of_phrase(tokens: tuple[Token, ...], noun: int) -> int:
    """The place of the first word of the phrase that ends in the noun: its article, or what follows a link word."""
    start = noun
    while start:
        before = tokens[start - 1].lower
        if before == "and" and start > 1 and {tokens[start - 2].lower, tokens[start].lower} <= COLOURS:
            start -= 2  # "a red and yellow flower" is one thing
        elif before in LINK_WORDS or before.endswith("ing"):
            break
        else:
            start -= 1
    return start - 1 if start and tokens[start - 1].lower in DETERMINERS else start


def _of_style(triple: Triple) -> str | None:
    """Make it a watercolor painting -> remove the watercolor painting style, where the source has no style."""
    change = triple.change
    places = [place for place in change.places if place.j1 > place.j0]
    if (
        triple.verb not in STYLE_VERBS
        or change.removed
        or len(places) != 1
        or not set(stems_of(words(triple.plain))) & set(change.added)
    ):
        return None
    tokens = list(change.target[places[0].j0 : places[0].j1])
    came = [token.lower for token in tokens]
    for opening in STYLE_OPENINGS:
        start = opening.split()
        if came[: len(start)] == start and len(came) > len(start):
            return f"remove the style of {text_of(triple.target, tokens[len(start) :])}"
    links = came[0] in LINK_WORDS
    tokens = tokens[links + (links and len(came) > 1 and came[1] in DETERMINERS) :]
    bare = list(takewhile(lambda token: token.lower not in LINK_WORDS, tokens))
    is_style = bool({token.lower for token in bare} & STYLE_WORDS) and "style of" not in " ".join(came)
    if not is_style or len(bare) > LONGEST_PHRASE or came[0] not in STYLE_STARTS:
        return None
    return f"remove the {text_of(triple.target, bare)}{'' if bare[-1].lower == 'style' else ' style'}"
