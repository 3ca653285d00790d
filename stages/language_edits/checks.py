"""Checks of an edit that a language model wrote: each a pure function of texts, each with a fault of its own.

The rules are necessary, not sufficient: they see words, not meaning. A word counts as named where its stem is there
(`words.stem`). Whether an edit suits the photograph is not checked. Those of the reverse instruction are in
`reverse_checks`.
"""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING

from stages.language_edits.alignment import head_of
from stages.language_edits.judged import EditFault, Judged
from stages.language_edits.reverse_checks import does_not_undo, reverse_invents
from stages.language_edits.words import (
    AMBIENT_WORDS,
    COLOUR_STEMS,
    EMPTY_WORDS,
    ENGLISH_WORDS,
    FOREIGN_WORDS,
    FREE_WORDS,
    GRAMMAR_WORDS,
    LINK_WORDS,
    POSITION_STEMS,
    content,
    named_in,
    normalised,
    stem,
    with_general,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LETTERS_FRAC = 0.95
"""Least share of Latin letters among the letters that the caption does not have."""
ALWAYS_REMOVABLE = 2
NAMED_FRAC = 0.5
"""Least share of the new words that the instruction of a change to one thing names."""
ANOTHER = frozenset({"another", "second", "third", "more", "extra", "additional", "further", "few", "two", "three"})
TEXT_WORDS = frozenset({"caption", "captions", "sentence", "json", "instruction", "phrase"})
_DEFINITE = frozenset({"the", "its", "his", "her", "their"})
_PRONOUNS = frozenset({"it", "its", "he", "his", "him", "she", "her", "they", "them", "their"})
_AMBIENT = frozenset(map(stem, AMBIENT_WORDS))
_FREE = frozenset(map(stem, FREE_WORDS))
_EMPTY = frozenset(map(stem, EMPTY_WORDS))


def faults_of(judged: Judged) -> list[EditFault]:
    """All faults of an answer that parsed, in the order of the checks."""
    return [fault for fault, is_faulty in CHECKS.items() if is_faulty(judged)]


def repeats_another_caption(judged: Judged) -> bool:
    """The answer repeats a source caption, and it is not the one that was given."""
    return judged.answer.caption is not None and words(judged.answer.caption) != words(judged.caption)


def is_of_another_type(judged: Judged) -> bool:
    """The answer's type of edit is not the one asked for."""
    return _type_name(judged.answer.edit_type) != _type_name(judged.edit_type)


def _type_name(edit_type: str) -> str:
    return edit_type.strip().lower().replace(" ", "_")


def is_out_of_length(judged: Judged) -> bool:
    """An instruction or the target caption is too short or too long."""
    bounds, answer = judged.lengths, judged.answer
    both = (len(words(answer.instruction)), len(words(answer.reverse_instruction)))
    fits = all(bounds.min_instruction <= number <= bounds.max_instruction for number in both)
    return not fits or not bounds.min_caption <= len(words(answer.target_caption)) <= bounds.max_caption


def is_in_another_language(judged: Judged) -> bool:
    """The texts are not in English: other letters than the caption's, or no English function words.

    Or the instruction speaks of the caption instead of the image.
    """
    answer = judged.answer
    texts = (answer.instruction, answer.reverse_instruction)
    known = set(judged.caption)
    letters = [c for text in (*texts, answer.target_caption) for c in text if c.isalpha() and c not in known]
    if sum(c.isascii() for c in letters) < LETTERS_FRAC * len(letters):
        return True
    allowed = frozenset(words(judged.caption))
    return any(_is_foreign(words(text), allowed) or TEXT_WORDS & {*words(text)} - allowed for text in texts)


def _is_foreign(found: tuple[str, ...], allowed: frozenset[str]) -> bool:
    english = sum(word in ENGLISH_WORDS for word in found)
    foreign = sum(word in FOREIGN_WORDS and word not in allowed for word in found)
    return english == 0 or foreign > english


def changes_nothing(judged: Judged) -> bool:
    """The target caption is the source caption, up to articles, the like, and the order of its words."""
    change = judged.change
    moved = sorted(set(change.removed_words) - GRAMMAR_WORDS) == sorted(set(change.added_words) - GRAMMAR_WORDS)
    return change.is_none or moved


def rewrites_the_caption(judged: Judged) -> bool:
    """The target caption changes more than an edit of that type has to."""
    change, kind = judged.change, judged.kind
    allowed = max(ALWAYS_REMOVABLE, int(kind.removed_frac * len(content(judged.caption))))
    if len(change.removed) > allowed or len(change.added) > kind.num_added or change.num_places > kind.num_places:
        return True
    if kind.scope == "remove" and not {*change.added} <= _EMPTY:
        return True
    if kind.removes_only and not {*change.removed} <= {*map(stem, kind.removes_only)}:
        return True
    noun = head_of(judged.answer.object)
    if kind.keeps_thing and noun in judged.source and (noun not in judged.target or _colours_another(judged, noun)):
        return True
    return kind.scope == "image" and bool(judged.source) and not judged.source & judged.target


def _colours_another(judged: Judged, noun: str) -> bool:
    """True where a colour came to another thing than that noun."""
    after = judged.change.target
    for place in judged.change.places:
        for index in range(place.j0, place.j1):
            if stem(after[index].lower) in COLOUR_STEMS:
                phrase = takewhile(lambda word: word not in LINK_WORDS, (token.lower for token in after[index:]))
                stems = {stem(word) for word in phrase} - COLOUR_STEMS
                if stems & judged.source and noun not in stems and not stems & {*judged.change.added}:
                    return True
    return False


def names_an_absent_thing(judged: Judged) -> bool:
    """The instruction is about a thing, or a quality of one, that neither caption has.

    "The" speaks of what is there: in "the red car" both words must be in a caption, in "the car door" the first. What
    is removed, replaced or changed must be in the source caption.
    """
    known = with_general(judged.source | judged.target) | _AMBIENT
    if any(not named_in(one, known) for one in _definite(judged.answer.instruction, known)):
        return True
    if judged.kind.scope in ("add", "image"):
        return False
    if judged.kind.scope == "remove":
        return not any(named_in(one, judged.instruction) for one in with_general(judged.change.removed))
    source = with_general(judged.source)
    if any(named_in(one, source) for one in judged.instruction):
        return False
    return head_of(judged.answer.object) not in judged.source or not _PRONOUNS & {*words(judged.answer.instruction)}


def _definite(instruction: str, known: frozenset[str]) -> Iterator[str]:
    """Stems of each phrase that "the" or "its" begins, up to its first known word or the next word that links."""
    inside = False
    for word in words(instruction):
        if word in _DEFINITE:
            inside = True
        elif word in LINK_WORDS:
            inside = False
        elif inside and stem(word) not in _FREE:
            yield stem(word)
            inside = not named_in(stem(word), known)


def adds_what_is_there(judged: Judged) -> bool:
    """The thing to add is in the source caption already, or the thing to remove is still in the target caption."""
    noun = head_of(judged.answer.object)
    before, after = (Counter(content(text)) for text in (judged.caption, judged.answer.target_caption))
    if judged.kind.scope == "remove":
        return before[noun] > 0 and after[noun] >= before[noun]
    if judged.kind.scope != "add":
        return False
    return before[noun] > 0 and not ANOTHER & {*words(judged.answer.instruction)}


def leaves_the_change_unnamed(judged: Judged) -> bool:
    """The instruction does not say what the target caption has new, or does not bring what it says.

    Of the new words of a thing half must be named, of those of the whole image one. Only a removal, or a move to where
    captions name no position, brings nothing new.
    """
    added, removed = judged.change.added, judged.change.removed
    named = [one for one in added if named_in(one, judged.instruction)]
    scope = judged.kind.scope
    if scope == "remove":
        return not removed
    if scope == "add" and not (named and {*content(judged.answer.object)} & {*added}):
        return True
    if scope == "image":
        return bool(added) and not named
    if not added:
        return not (removed and {*removed} <= POSITION_STEMS)
    return len(named) < NAMED_FRAC * len(added)


def copies_an_example(judged: Judged) -> bool:
    """The target caption is one that the prompt showed, or the instruction is and names nothing of this caption.

    The paper asks for instructions distinct from the samples; the released code has no rule. An instruction that names
    a thing of the caption ("remove the dog") was written for it, though the same words were shown.
    """
    if normalised(judged.answer.target_caption) in judged.shown_targets:
        return True
    is_shown = normalised(judged.answer.instruction) in judged.shown_instructions
    return is_shown and not judged.instruction & judged.source


def repeats_an_edit(judged: Judged) -> bool:
    """The parent has an edit with that instruction or that target caption."""
    mine = judged.answer
    return any(
        normalised(mine.target_caption) == normalised(other.target_caption)
        or normalised(mine.instruction) == normalised(other.instruction)
        for other in judged.earlier
    )


CHECKS: dict[EditFault, Callable[[Judged], bool]] = {
    EditFault.OTHER_CAPTION: repeats_another_caption,
    EditFault.OTHER_EDIT_TYPE: is_of_another_type,
    EditFault.WRONG_LENGTH: is_out_of_length,
    EditFault.OTHER_LANGUAGE: is_in_another_language,
    EditFault.NO_CHANGE: changes_nothing,
    EditFault.REWRITTEN_CAPTION: rewrites_the_caption,
    EditFault.ABSENT_THING: names_an_absent_thing,
    EditFault.THING_ALREADY_THERE: adds_what_is_there,
    EditFault.UNNAMED_CHANGE: leaves_the_change_unnamed,
    EditFault.COPIED_EXAMPLE: copies_an_example,
    EditFault.DUPLICATE_EDIT: repeats_an_edit,
    EditFault.REVERSE_DOES_NOT_UNDO: does_not_undo,
    EditFault.REVERSE_INVENTS: reverse_invents,
}
"""Every check of an answer that parsed. UNPARSABLE is of `schema.parse_answer`, NO_CAPTION of the stage."""
