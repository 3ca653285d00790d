"""Finds the words of a reverse instruction that no text of its edit has.

Written apart from the checks of the stages, so that both do not share an error: words are compared by WordNet's base
forms, there are no stems and no lists of words that mean the same. It is strict. A verb like "glue" is found as well,
and a person has to read that it names no thing and no quality of one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stages.wordnet_edits.grammar import word_set

if TYPE_CHECKING:
    from models.language.wordnet import WordNet

WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
FUNCTION_WORDS = word_set(
    "a an the this that these those all it its them their there and or so not no of to in into on onto at off out up "
    "down by for from with without instead rather than place as is are be"
)
EDIT_VERBS = word_set(
    "add put bring give take remove undo restore change turn convert transform replace swap make let have move go stop "
    "away"
)
FORMER_STATE = word_set("back again original photo photograph style background colour")
"""How a request names the state before: every image was a photograph without a style, with a background and colours."""
FREE_WORDS = FUNCTION_WORDS | EDIT_VERBS | FORMER_STATE
PARTS_OF_SPEECH = ("n", "v", "a", "r")


def new_words(reverse: str, texts: tuple[str, ...], wordnet: WordNet) -> tuple[str, ...]:
    """Words of the reverse instruction that share no base form with a word of the texts, in order, each once."""
    known = {base for text in texts for word in _words(text) for base in _bases(word, wordnet)}
    found = (word for word in _words(reverse) if not _bases(word, wordnet) & (known | FREE_WORDS))
    return tuple(dict.fromkeys(found))


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower().replace("\u2019", "'").replace("'s", ""))


def _bases(word: str, wordnet: WordNet) -> set[str]:
    """The word itself and its base form as each part of speech."""
    return {word} | {base for part in PARTS_OF_SPEECH if (base := wordnet.lemma(word, part)) is not None}
