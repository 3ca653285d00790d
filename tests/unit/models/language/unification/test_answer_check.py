"""The check of a model's answer: what is let through says the same, word for word."""

import pytest

from models.language.unification.answer_check import MOST_CHARS, asks_the_same
from models.language.unification.prompts import SHOTS
from models.language.unification.rules import unify_by_rule

SAME = [
    ("remove the car", "remove the automobile"),
    ("add dog", "add a dog"),
    ("make the couch red", "make the sofa red"),
    ("the dog has to go", "remove the dog"),
    ("get the dog out of here", "remove the dog out of here"),
    ("i wish the wall was green", "make the wall green"),
    ("i think there should be two cats on the left", "add two cats on the left"),
    ("a truck would be better instead of the car", "replace the car with a truck"),
    ("trade the car for a truck", "replace the car with a truck"),
    ("zoom in on her face", "zoom in on her face"),
    ("instead of the dog i want a cat", "replace the dog with a cat"),
    ("where the dog is i would rather like a cat", "replace the dog with a cat"),
    ("i would rather like a cat where the dog is", "replace the dog with a cat"),
    ("i wish the dog would become a cat instead", "replace the dog with a cat"),
    ("the left dog should go to the right", "move the left dog to the right"),
    ("i want the dog to go to the left of the cat", "move the dog to the left of the cat"),
]
OTHER = [
    ("remove the car", "remove the cars"),
    ("remove the car", "remove the red car"),
    ("remove the red car", "remove the car"),
    ("remove the car", "add the car"),
    ("remove his hat", "remove her hat"),
    ("add two dogs", "add three dogs"),
    ("add a dog on the left", "add a dog on the right"),
    ("add a dog on the left", "add a dog"),
    ("put the cup under the table", "put the cup on the table"),
    ("make the car red", "make the car blue"),
    ("make the car red", "replace the car with a red one"),
    ("replace the cat with a dog", "replace the dog with a cat"),
    ("trade the car for a truck", "replace the truck with a car"),
    ("a truck would be better instead of the car", "replace the truck with a car"),
    ("do not remove the dog", "remove the dog"),
    ("the dog should not go", "remove the dog"),
    ("the dog has to go", "add a dog"),
    ("lose two of the dogs", "remove the dogs"),
    ("put the red hat near the blue bag", "add a blue hat near the red bag"),
    ("zoom in on her face", "make her face large"),
    ("there has to be a dog on the left", "add a dog on the right"),
    ("there has to be a dog on the left", "add a dog on"),
    ("the dog", "remove the dog"),
    ("the dog has to go", ""),
    ("i want it", "remove it"),
    ("instead of the dog i want a cat", "replace the cat with a dog"),
    ("instead of the dog house i want a cat", "replace the dog with a house cat"),
    ("where the dog is i would rather like a cat", "replace the cat with a dog"),
    ("i would rather like a cat where the dog is", "replace the cat with a dog"),
    ("i wish the dog would become a cat instead", "replace the cat with a dog"),
    ("into a cat i would change the dog", "replace the cat with a dog"),
    ("i prefer a cat to the dog", "replace the cat with a dog"),
    ("i want a cat for the dog", "replace the cat with a dog"),
    ("a cat could substitute for the dog", "replace the cat with a dog"),
    ("the dog is where a cat should be", "replace the cat with a dog"),
    ("where the cat should be i see a dog", "replace the cat with a dog"),
    ("i got a dog instead of the cat that i want", "replace the cat with a dog"),
    ("instead of the dog i want a cat where the bird is", "replace the dog with a cat bird"),
    ("the left dog should go to the right", "move the right dog to the left"),
    ("put the dog to the left of the cat", "move the dog of the cat to the left"),
    ("the dog to the left should go to the cat", "move the dog to the left of the cat"),
    ("the cat to the left should go", "move the cat to the left"),
    ("the right wall with the left door should be red", "make the left wall with the right door red"),
]


@pytest.mark.parametrize(("request_", "answer"), SAME)
def test_answer_with_the_same_words_passes(request_, answer):
    assert asks_the_same(request_, answer)


@pytest.mark.parametrize(("request_", "answer"), OTHER)
def test_answer_that_loses_adds_or_turns_round_is_refused(request_, answer):
    assert not asks_the_same(request_, answer)


def test_endless_answer_is_refused():
    endless = " ".join(["dog"] * MOST_CHARS)
    assert not asks_the_same(endless, endless)


def test_answers_shown_in_the_prompt_pass_and_are_canonical():
    for asked, written in SHOTS:
        assert unify_by_rule(written) == written
        assert asks_the_same(unify_by_rule(asked), written)
