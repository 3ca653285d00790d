"""Words whose change makes another instruction of one that looks the same to a text encoder.

Text encoders see "make it red" and "make it blue", or "on the left" and "on the right", as nearly equal. The closed
list here is chosen: colours, numbers, sides and places, sizes and amounts, light and time, negations, and verbs that
add or remove. It is strict: "add a hat to the cat" and "give the cat a hat" differ in one of its words.
"""

from __future__ import annotations

from stages.language_edits.words import COLOURS, PLACE_WORDS, POSITIONS, normalised, stem, words
from stages.wordnet_edits.grammar import word_set

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
ALIKE = (
    word_set("add insert include introduce"),
    word_set("remove delete erase eliminate off away"),
    word_set("not no never without"),
)
"""Words that stand for each other."""
OTHERS = word_set(
    "up upper lower upward downward upside clockwise anticlockwise counterclockwise horizontal vertical indoors "
    "outdoors indoor outdoor east west north south first second third last half double twice single many few several "
    "all none more less fewer most least big bigger biggest small smaller smallest large larger little tall taller "
    "short shorter long longer wide wider narrow narrower thick thicker thin thinner high higher low deep shallow near "
    "far closer light lighter dark darker bright brighter dim dimmer day night morning noon evening dawn dusk sunrise "
    "sunset spring summer autumn fall winter open close closed shut full empty new old older young younger hot "
    "cold warm warmer cool cooler wet dry fast slow"
)
_SIGNS = {stem(word): stem(word) for word in COLOURS | POSITIONS | PLACE_WORDS | OTHERS}
_SIGNS |= {stem(word): str(number) for number, word in enumerate(NUMBERS)}
_SIGNS |= {stem(word): min(group) for group in ALIKE for word in group}


def signs(text: str) -> tuple[str, ...]:
    """The contrasting words of a text, in order, each as one of all that stand for each other."""
    return tuple(sign for word in words(text) if (sign := _sign(word)))


def are_swapped(text: str, other: str) -> bool:
    """True for two texts of the same words in another order: "a cat with a dog" is not "a dog with a cat"."""
    first, second = normalised(text).split(), normalised(other).split()
    return first != second and sorted(first) == sorted(second)


def _sign(word: str) -> str:
    plain = word.replace("\u2019", "'")
    if plain.endswith("n't") or plain in ("cannot", "dont"):
        return "never"
    if any(sign.isdigit() for sign in plain):
        return plain
    return _SIGNS.get(stem(plain), "")
