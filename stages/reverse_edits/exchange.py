"""The rule for exchanges: of "turn the cat into a dog" the reverse is "turn the dog into a cat"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.language_edits.alignment import Change, Place
from stages.language_edits.words import AMBIENT_WORDS, COLOURS, FREE_WORDS, LINK_WORDS, content, stems_of, words
from stages.reverse_edits.triple import ARTICLES, CHANGE_VERBS, DETERMINERS, LONGEST_PHRASE, text_of
from stages.wordnet_edits.grammar import Token, article_for, replace_span, word_set

if TYPE_CHECKING:
    from stages.reverse_edits.triple import Triple

FREE = FREE_WORDS | AMBIENT_WORDS | word_set("season weather time day")
"""Words that an instruction may have beyond the captions', and that hold before and after."""
MATERIAL_LINKS = frozenset({"of", "with", "by", "from"})


def reverse_of_exchange(triple: Triple) -> str | None:
    """Turn the cat into a dog -> turn the dog into a cat; make it night, of a day, -> make it day."""
    place = _place_meant(triple) if triple.verb in CHANGE_VERBS else None
    if place is None:
        return None
    before, after = _sides(triple.change, place)
    old, new = text_of(triple.source, before), text_of(triple.target, after)
    slots = {"old": _slots(triple.plain, old), "new": _slots(triple.plain, new)}
    if not _is_gone(old, new, triple.change.removed) or not _is_gone(new, old, triple.change.added):
        return None
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


def _place_meant(triple: Triple) -> Place | None:
    """The one place whose new words the instruction has. Of other changes of the caption it must not speak."""
    change = triple.change
    places = [place for place in _joined(change) if not _is_grammar(change, place)]
    meant = []
    for place in places:
        before, after = _sides(change, place)
        fits = before and after and max(len(before), len(after)) <= LONGEST_PHRASE
        if fits and _slots(triple.plain, text_of(triple.target, after)):
            meant.append(place)
    if len(meant) != 1:
        return None
    aside = [place for place in places if place is not meant[0]]
    tokens = [t for place in aside for t in (*change.source[place.i0 : place.i1], *change.target[place.j0 : place.j1])]
    spoken = set(content(triple.plain)) & set(stems_of(tuple(token.lower for token in tokens)))
    return None if spoken else meant[0]


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
    """The words that went and those that came at a place, articles before both left out."""
    before, after = list(change.source[place.i0 : place.i1]), list(change.target[place.j0 : place.j1])
    while before and after and before[0].lower in DETERMINERS and after[0].lower in DETERMINERS:
        before, after = before[1:], after[1:]
    before, after = _without_article(before), _without_article(after)  # only one has it: "mountains" became "the sea"
    if before and before[-1].lower in COLOURS and after and all(token.lower in COLOURS for token in after):
        before = [token for token in before if token.lower in COLOURS]  # of "a big red car" the red
    return before, after


def _without_article(phrase: list[Token]) -> list[Token]:
    return phrase[1:] if phrase and phrase[0].lower in ARTICLES else phrase


def _slots(text: str, phrase: str) -> list[tuple[int, int]]:
    pattern = rf"(?<![\w-]){re.escape(phrase)}(?![\w-])"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _is_gone(phrase: str, other: str, changed: tuple[str, ...]) -> bool:
    """True where a phrase did not only move to another place of the caption."""
    return set(content(phrase)) <= {*changed, *content(other)}


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
    return _Phrase(text_of(caption, phrase), before if before in ARTICLES else "", is_cut)


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
    if is_new and last in ARTICLES and not phrase.is_cut and {last, phrase.article} - {"a", "an"}:
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
