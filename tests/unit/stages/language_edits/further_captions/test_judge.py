"""Checks of a further pair: those of any edit, and that it is another scene in which the edit is still to be done."""

from collections import Counter

import pytest

from stages.language_edits.further_captions.pairs import CaptionPair, PairFault, SharedEdit, judge, take
from stages.language_edits.judged import EditFault, Judged, Lengths
from stages.language_edits.schema import EditAnswer

OWN = CaptionPair(
    "a red car on a beach",
    EditAnswer("change_colour", "make the car blue", "car", "a blue car on a beach", "make the car red"),
)


def shared(*further):
    return SharedEdit(own=OWN, wanted=3, rng=None, further=list(further))


def another(caption="a green car in a forest", target="a blue car in a forest", reverse="make the car green"):
    return CaptionPair(caption, EditAnswer("change_colour", "make the car blue", "car", target, reverse))


def faults(pair, *further, lengths=None):
    judged = Judged(
        caption=pair.caption, edit_type="change_colour", answer=pair.answer, lengths=lengths or Lengths()
    )  # fmt: skip
    return [fault.value for fault in judge(shared(*further), judged)]


def test_pair_of_another_scene_has_no_fault():
    assert faults(another()) == []


def test_caption_that_names_the_same_things_is_no_other_scene():
    assert faults(another("the red car is on the beach", "the blue car is on the beach", "make the car red")) == [
        "same_caption"
    ]
    assert faults(another(), another()) == ["same_caption"]


def test_caption_of_an_edited_scene_is_no_source():
    assert faults(another("a blue car on a beach", "a blue car in a forest")) == [
        "already_edited", "unnamed_change", "reverse_does_not_undo", "reverse_invents",
    ]  # fmt: skip
    assert faults(another("the blue car in the forest"), another())[0] == "already_edited"


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        (another("a green bus in a forest", "a blue bus in a forest"), "absent_thing"),
        (another(target="a blue bus in a kitchen"), "rewritten_caption"),
        (another(target="a red car in a forest"), "unnamed_change"),
        (another(reverse="make the car red"), "reverse_does_not_undo"),
        (another(reverse="make the car green, as the old tree"), "reverse_invents"),
        (another("ein grünes Auto steht im Wäldchen hübsch", "a blue car"), "other_language"),
    ],
)  # fmt: skip
def test_pair_is_checked_as_an_own_edit(pair, fault):
    assert fault in faults(pair)


def test_length_of_the_caption_is_bounded():
    pair = another("a green car in a forest with many tall trees", "a blue car in a forest with many trees")
    assert faults(pair) == []
    assert faults(pair, lengths=Lengths(max_caption=9)) == ["wrong_length"]
    assert faults(pair, lengths=Lengths(max_caption=10)) == []


def test_only_a_pair_without_a_fault_is_kept_and_all_are_counted():
    edit, notes = shared(), Counter()
    take(edit, another(), [], notes)
    take(edit, another(), [PairFault.SAME_CAPTION], notes)
    take(edit, None, [EditFault.UNPARSABLE], notes)
    assert edit.pairs == (OWN, another())
    assert notes == {
        "further pairs asked": 3, "further pairs kept": 1, "further pairs asked: same_caption": 1,
        "further pairs asked: unparsable": 1,
    }  # fmt: skip
