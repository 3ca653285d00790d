"""Places of captions that can be exchanged, with preposition and article."""

import pytest

from stages.language_edits.further_captions.pairs import CaptionPair
from stages.language_edits.further_captions.places import INDOORS, OUTDOORS, place_swaps
from stages.language_edits.further_captions.swaps import Swappable, swapped
from stages.language_edits.schema import EditAnswer
from stages.wordnet_edits.grammar import tokenise


def new_places(caption):
    return [{swap.new for swap in swaps} for swaps in place_swaps(tokenise(caption))]


def test_place_becomes_each_other_one_of_its_group():
    assert new_places("a red car on a beach") == [{*OUTDOORS} - {"on a beach"}]
    assert new_places("a cup in the living room next to a lamp") == [{*INDOORS} - {"in a living room"}]
    assert new_places("a car on the left in the desert at night") == [{*OUTDOORS} - {"in the desert"}]


@pytest.mark.parametrize(
    "caption",
    ["a car", "on a beach", "a car on a beach towel", "a man surfing on a beach", "a car beside a beach",
     "a car on beach", "two boats at sea"],
)  # fmt: skip
def test_place_that_may_be_needed_there_stays(caption):
    assert new_places(caption) == []


@pytest.mark.parametrize(
    ("reverse", "expected"),
    [
        ("make it on a beach", "make it in the desert"),
        ("change it to a beach", "change it to the desert"),
        ("bring the beach back", "bring the desert back"),
        ("move it back to where it was", "move it back to where it was"),
        ("bring beaches back", None),
    ],
)
def test_reverse_instruction_brings_the_new_place_back(reverse, expected):
    answer = EditAnswer("change_background", "make it on a street", "background", "a car on a street", reverse)
    old = Swappable(CaptionPair("a car on a beach", answer))
    (swaps,) = place_swaps(old.change.source)
    new = swapped(old, next(swap for swap in swaps if swap.new == "in the desert"))
    assert (new and new.answer.reverse_instruction) == expected
    if new is not None:
        assert (new.caption, new.answer.target_caption) == ("a car in the desert", "a car on a street")


def test_place_of_both_captions_changes_in_both():
    answer = EditAnswer("change_colour", "make the car red", "car", "a red car in a park", "make the car blue")
    old = Swappable(CaptionPair("a blue car in a park", answer))
    (swaps,) = place_swaps(old.change.source)
    new = swapped(old, next(swap for swap in swaps if swap.new == "on a beach"))
    assert (new.caption, new.answer.target_caption) == ("a blue car on a beach", "a red car on a beach")
