"""Write the reverse of an instruction by rule, where captions and instruction leave no doubt, else nothing.

Pure functions of text. All words of a result come from the instruction and the two captions, so that it invents
nothing; a rule that is not sure of its phrase gives None, and a model is asked. English only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from stages.language_edits.alignment import Change, Place, align
from stages.language_edits.words import (
    AMBIENT_WORDS,
    COLOURS,
    FREE_WORDS,
    LINK_WORDS,
    POSITIONS,
    content,
    stem,
    stems_of,
    words,
)
from stages.wordnet_edits.grammar import Token, article_for, replace_span, tokenise, word_set

ADD_VERBS = word_set("add insert include introduce put place")
REMOVE_VERBS = word_set("remove delete erase discard take")
CHANGE_VERBS = word_set(
    "replace swap exchange substitute switch turn change transform convert make paint dye color colour recolor "
    "recolour repaint have let set put move dress render"
)
"""First words of an instruction that keep their sense when what it names is exchanged for what was there."""
DETERMINERS = word_set("a an the some another one his her its their my your this that these those")
STYLE_OPENINGS = ("in the style of", "in the manner of", "as if painted by", "as painted by", "painted by", "drawn by")
STYLE_WORDS = word_set(
    "style painting sketch drawing watercolor watercolour cartoon anime comic mosaic engraving etching illustration "
    "pastel gouache fresco woodcut linocut pixel render lithograph collage origami claymation manga graffiti"
)
STYLE_VERBS = CHANGE_VERBS | word_set("as in draw stylize stylise")
STYLE_STARTS = STYLE_WORDS | word_set("as in a an")
FREE = FREE_WORDS | AMBIENT_WORDS | word_set("season weather time day")
"""Words that an instruction may have beyond the captions', and that hold before and after."""
POSITION_STEMS = frozenset(map(stem, POSITIONS))
"""Words for a place on the image: captions may name a new one though the thing did not move."""
NOUNS_IN_ING = word_set("building ceiling clothing drawing king painting ring sibling string swing wedding wing")
MATERIAL_LINKS = frozenset({"of", "with", "by", "from"})
LONGEST_PHRASE = 6
"""Words of a phrase that is exchanged or added; a longer one is more than one change."""
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


def reverse_by_rule(source: str, target: str, instruction: str) -> str | None:
    """The instruction that turns `target` back into `source`, or None where no rule is sure."""
    triple = Triple(source, target, instruction)
    if not triple.plain or triple.change.is_none:
        return None
    rules = (_of_addition, _of_removal, _of_style, _of_exchange)
    found = next((text for rule in rules if (text := rule(triple)) is not None), None)
    return None if found is None else _as_sentence(found, instruction)


def _as_sentence(text: str, like: str) -> str:
    """The text with the first letter and the full stop that the instruction has."""
    stop = "." if like.rstrip().endswith(".") else ""
    return f"{text[:1].upper() if like.strip()[:1].isupper() else text[:1].lower()}{text[1:]}{stop}"


def _of_addition(triple: Triple) -> str | None:
    """Add a hat to the man -> remove the hat. Nothing may be lost, and the thing must be new in the target caption."""
    if triple.verb not in ADD_VERBS or set(triple.change.removed) - POSITION_STEMS:
        return None
    named = _thing_after_verb(triple.plain)
    if named is None or stem(named[-1]) not in triple.change.added or stem(named[-1]) in stems_of(words(triple.source)):
        return None
    return f"remove the {' '.join(named)}"


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
    if triple.verb not in REMOVE_VERBS or set(triple.change.added) - POSITION_STEMS:
        return None
    places = [place for place in triple.change.places if place.i1 > place.i0]
    named = _thing_after_verb(triple.plain)
    if len(places) != 1 or named is None:
        return None
    tokens, (start, end) = triple.change.source, (places[0].i0, places[0].i1)
    nouns = [index for index in range(start, end) if stem(tokens[index].lower) == stem(named[-1])]
    if len(nouns) != 1:
        return None
    first = _start_of_phrase(tokens, nouns[0])
    while tokens[end - 1].lower in LINK_WORDS:
        end -= 1
    behind = stems_of(tuple(token.lower for token in tokens[nouns[0] + 1 : end]))
    if end - first > LONGEST_PHRASE + 1 or not set(behind) <= set(content(triple.target)):
        return None  # more went than the thing and its place
    return f"add {_text(triple.source, list(tokens[first:end]))}"


def _start_of_phrase(tokens: tuple[Token, ...], noun: int) -> int:
    """The place of the first word of the phrase that ends in the noun: its article, or what follows a link word."""
    start = noun
    while start and tokens[start - 1].lower not in LINK_WORDS and not tokens[start - 1].lower.endswith("ing"):
        start -= 1
    return start - 1 if start and tokens[start - 1].lower in DETERMINERS else start


def _text(caption: str, tokens: list[Token]) -> str:
    """The words as the caption has them, without the capital of a first word."""
    text = caption[tokens[0].start : tokens[-1].end]
    is_first = tokens[0].start == 0 and tokens[0].text[1:].islower()
    return text[:1].lower() + text[1:] if is_first else text


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
    came = [token.lower for token in change.target[places[0].j0 : places[0].j1]]
    for opening in STYLE_OPENINGS:
        start = opening.split()
        if came[: len(start)] == start and len(came) > len(start):
            tokens = change.target[places[0].j0 + len(start) : places[0].j1]
            return f"remove the style of {_text(triple.target, list(tokens))}"
    if came[0] in LINK_WORDS:
        came = [*came[:1], *came[1 + (len(came) > 1 and came[1] in DETERMINERS) :]]
    is_named = " ".join(came).find("style of") >= 0
    bare = list(takewhile(lambda word: word not in LINK_WORDS, came[came[0] in LINK_WORDS :]))
    if is_named or not set(bare) & STYLE_WORDS or len(bare) > LONGEST_PHRASE or came[0] not in STYLE_STARTS:
        return None
    return f"remove the {' '.join(bare)}{'' if bare[-1] == 'style' else ' style'}"


def _of_exchange(triple: Triple) -> str | None:
    """Turn the cat into a dog -> turn the dog into a cat; make it night, of a day, -> make it day."""
    places = [p for p in _joined(triple.change) if not _is_grammar(triple.change, p)]
    if triple.verb not in CHANGE_VERBS or len(places) != 1:
        return None
    before, after = _sides(triple.change, places[0])
    if not before or not after or max(len(before), len(after)) > LONGEST_PHRASE:
        return None
    old, new = _text(triple.source, before), _text(triple.target, after)
    slots = {"old": _slots(triple.plain, old), "new": _slots(triple.plain, new)}
    if len(slots["new"]) != 1 or len(slots["old"]) > 1 or _says_more(triple, old, new, slots["old"]):
        return None
    olds = _noun_phrase(triple.source, triple.change.source, before)
    news = _noun_phrase(triple.target, triple.change.target, after)
    if olds.is_cut and _names_material(triple.plain[: slots["new"][0][0]], before):
        return None
    swaps = [(slots["new"][0], olds, news), *((slot, news, olds) for slot in slots["old"])]
    if len(swaps) == 2 and swaps[0][0][0] < swaps[1][0][1] and swaps[1][0][0] < swaps[0][0][1]:
        return None
    text = triple.plain
    for (start, end), phrase, other in sorted(swaps, key=lambda swap: swap[0], reverse=True):
        text = _put(text, start, end, phrase, other, is_new=(start, end) == slots["new"][0])
    return text


def _joined(change: Change) -> list[Place]:
    """The places, those joined between which there is an article only: "in a forest" became "on a beach"."""
    joined: list[Place] = []
    for place in change.places:
        between = change.source[joined[-1].i1 : place.i0] if joined else ()
        if joined and len(between) == 1 and between[0].lower in DETERMINERS:
            joined[-1] = Place(joined[-1].i0, place.i1, joined[-1].j0, place.j1)
        else:
            joined.append(place)
    return joined


def _is_grammar(change: Change, place: Place) -> bool:
    """True for a place where only articles and the like changed."""
    tokens = (*change.source[place.i0 : place.i1], *change.target[place.j0 : place.j1])
    return all(token.lower in DETERMINERS for token in tokens)


def _sides(change: Change, place: Place) -> tuple[list[Token], list[Token]]:
    """What went and what came at a place, link words at the ends left out where both sides have the same."""
    before, after = list(change.source[place.i0 : place.i1]), list(change.target[place.j0 : place.j1])
    while before and after and before[0].lower in DETERMINERS and after[0].lower in DETERMINERS:
        before, after = before[1:], after[1:]
    return before, after


def _slots(text: str, phrase: str) -> list[tuple[int, int]]:
    pattern = rf"(?<![\w-]){re.escape(phrase)}(?![\w-])"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _says_more(triple: Triple, old: str, new: str, slots: list[tuple[int, int]]) -> bool:
    """True where the instruction names more than the exchanged phrases and what both captions have.

    Then an exchange would be half: of "change the horse to a zebra with stripes" the horse would have the stripes.
    """
    if not slots and set(words(old)) - LINK_WORDS & set(words(triple.plain)) - set(words(new)):
        return True
    named = set(stems_of(tuple(word for word in words(triple.plain) if word not in FREE)))
    lasting = set(content(triple.source)) & set(content(triple.target))
    return not named <= lasting | set(content(old)) | set(content(new))


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A phrase of a caption, the article before it or "", and True where it ends before its noun ("red" of a car)."""

    text: str
    article: str
    is_cut: bool


def _noun_phrase(caption: str, tokens: tuple[Token, ...], phrase: list[Token]) -> _Phrase:
    first, last = tokens.index(phrase[0]), tokens.index(phrase[-1])
    before = tokens[first - 1].lower if first else ""
    after = tokens[last + 1] if last + 1 < len(tokens) else None
    is_cut = after is not None and after.lower not in LINK_WORDS and not caption[phrase[-1].end : after.start].strip()
    return _Phrase(_text(caption, phrase), before if before in ("a", "an", "the") else "", is_cut)


def _names_material(before_slot: str, phrase: list[Token]) -> bool:
    """True where an adjective that is no colour would come to stand alone: "out of wooden"."""
    last = before_slot.rstrip().rpartition(" ")[2].lower()
    return last in MATERIAL_LINKS and phrase[-1].lower not in COLOURS


def _put(text: str, start: int, end: int, phrase: _Phrase, other: _Phrase, *, is_new: bool) -> str:
    """The text with a phrase in the place of `other`, with the article that it takes there.

    Where the instruction names what is new, the article is that of the caption; where it names what is there, "the".
    """
    before = text[:start].rstrip()
    last = before.rpartition(" ")[2].lower()
    wanted = f"{phrase.article} {phrase.text}".strip()
    if phrase.article in ("a", "an"):
        wanted = f"{article_for(phrase.text)} {phrase.text}"
    if is_new and last in ("a", "an", "the") and not phrase.is_cut and {last, phrase.article} - {"a", "an"}:
        has_own_article = (last == "the") == (other.article == "the")
        if has_own_article and (phrase.article or _looks_plural(phrase.text)):
            return f"{before[: len(before) - len(last)]}{wanted}{text[end:]}"
    lacks_article = last not in DETERMINERS and phrase.article in ("a", "an") and not phrase.is_cut
    if lacks_article and not (other.article or other.is_cut):
        return f"{text[:start]}{wanted}{text[end:]}"
    return replace_span(text, start, end, phrase.text)


def _looks_plural(phrase: str) -> bool:
    last = phrase.rpartition(" ")[2]
    return last.endswith("s") and not last.endswith(("ss", "us", "is"))
