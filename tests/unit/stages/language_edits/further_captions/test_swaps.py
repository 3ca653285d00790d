"""Swaps of words in a pair of captions: what changes with them, and what may not."""

import pytest

from stages.language_edits.further_captions.pairs import CaptionPair
from stages.language_edits.further_captions.swaps import Swap, Swappable, swapped
from stages.language_edits.schema import EditAnswer
from stages.language_edits.words import words


def pair(caption, instruction, target, reverse, *, thing="thing", edit_type="replace"):
    return CaptionPair(caption, EditAnswer(edit_type, instruction, thing, target, reverse))


TRUCK = pair(
    "a red car on a beach", "replace the car with a truck", "a red truck on a beach",
    "replace the red truck with a car", thing="car",
)  # fmt: skip
BLUE = pair("an old red car", "make the car blue", "an old blue car", "make the car red", thing="car")
SNOW = pair("a corgi on a bench in a park", "make it snow", "a corgi on a bench in a park in the snow", "stop the snow")


def word_swap(caption, old, new):
    """The swap of one word of a caption."""
    at = words(caption).index(old)
    return Swap(first=at, last=at + 1, new=new, naming=((old,), words(new)), renamings=((old, new),))


def swap(one, old, new):
    return swapped(Swappable(one), word_swap(one.caption, old, new))


def texts(one):
    return one.caption, one.answer.target_caption, one.answer.reverse_instruction


def test_word_of_both_captions_changes_in_both_with_its_article():
    new = swap(TRUCK, "red", "orange")
    assert texts(new) == (
        "an orange car on a beach", "an orange truck on a beach", "replace the orange truck with a car",
    )  # fmt: skip
    assert new.answer.instruction == TRUCK.answer.instruction
    assert (new.answer.object, new.answer.edit_type) == ("car", "replace")


def test_removed_word_changes_in_the_source_and_in_the_reverse():
    assert texts(swap(BLUE, "red", "green")) == ("an old green car", "an old blue car", "make the car green")


def test_capital_and_rest_of_a_caption_are_kept():
    one = pair("Red car, parked.", "make it snow", "Red car, parked, in the snow.", "stop the snow")
    assert texts(swap(one, "red", "blue"))[:2] == ("Blue car, parked.", "Blue car, parked, in the snow.")


@pytest.mark.parametrize(("thing", "expected"), [("dog", "cat"), ("head of the dog", "head of the cat")])
def test_name_of_the_object_changes_too(thing, expected):
    one = pair("a dog in a park", "make it bigger", "a big dog in a park", "make it smaller", thing=thing)
    assert swap(one, "dog", "cat").answer.object == expected


def test_word_that_the_instruction_names_does_not_change():
    assert swap(TRUCK, "car", "bus") is None
    animal = pair("a dog in a park", "remove the animal", "a park", "put the animal back")
    assert swap(animal, "dog", "cat") is None
    assert swap(animal, "park", "garden") is not None


@pytest.mark.parametrize("new", ["blue", "car", "old"])
def test_new_word_is_in_no_text_of_the_edit(new):
    assert swap(BLUE, "red", new) is None


def test_new_word_must_not_be_one_that_the_instruction_means():
    one = pair("a dog and a cat", "remove the dog", "a cat", "put the dog back")
    assert swap(one, "cat", "puppy") is None
    assert swap(one, "cat", "fox") is not None


def test_word_that_comes_twice_does_not_change():
    one = pair("a red car beside a red door", "make it snow", "a red car beside a red door in snow", "stop the snow")
    assert swap(one, "red", "blue") is None
    assert swap(one, "door", "gate") is not None


def test_reverse_that_would_speak_of_the_old_thing_gives_no_pair():
    chairs = pair("a chair in a park", "make it snow", "a chair in a park in the snow", "take the snow off the chairs")
    assert swap(chairs, "chair", "bench") is None
    assert swap(chairs, "park", "garden") is not None


def test_general_word_of_a_reverse_may_hold_for_the_new_thing():
    one = pair(SNOW.caption, "make it snow", SNOW.answer.target_caption, "take the snow off the dog")
    assert swap(one, "corgi", "poodle").answer.reverse_instruction == "take the snow off the dog"
    assert swap(one, "corgi", "fox") is None


def test_person_changes_unless_a_text_says_he_or_she():
    caption, target = "a man on a bench", "a man with a hat on a bench"
    assert swap(pair(caption, "add a hat", target, "remove the hat"), "man", "woman").answer.target_caption == (
        "a woman with a hat on a bench"
    )
    for told in (("give him a hat", "remove the hat"), ("add a hat", "take off his hat")):
        assert swap(pair(caption, told[0], target, told[1]), "man", "woman") is None


def test_word_that_moved_in_the_target_does_not_change():
    one = pair("a red car beside a tree", "swap the two", "a tree beside a red car", "swap the two back")
    kept = Swappable(one).kept
    moved = [at for at in range(6) if at not in kept]
    assert moved
    for at in moved:
        if words(one.caption)[at] in {"red", "car", "tree"}:
            assert swap(one, words(one.caption)[at], "zebra") is None


@pytest.mark.parametrize("one", [TRUCK, BLUE, SNOW])
def test_kept_words_are_the_same_at_both_places(one):
    old = Swappable(one)
    source, target = words(one.caption), words(one.answer.target_caption)
    assert all(source[i] == target[j] for i, j in old.kept.items())
    assert len(old.kept) == len(source) - len(old.change.removed_words) == len(target) - len(old.change.added_words)
    assert sorted(old.kept.values()) == [old.kept[i] for i in sorted(old.kept)]


def test_words_that_are_not_together_in_the_target_do_not_change():
    one = pair("a dog in a park", "make it snow", "a dog in a snowy park", "stop the snow")
    renamings = (("in a park", "on a beach"),)
    place = Swap(first=2, last=5, new="on a beach", naming=(("park",), ("beach",)), renamings=renamings)
    assert swapped(Swappable(one), place) is None
