"""Rules for instructions: one text for one request, and never one text for two."""

import itertools
import random
import time

import pytest

from models.language.unification.rules import LONGEST, unify_by_rule

SAME = {
    "replace the car with a truck": [
        "Replace the car with a truck.", "change the car into a truck", "Please turn this car into a truck!",
        "swap the car for a truck", "swap out the car with a truck", "make the car into a truck",
        "make the car a truck",
        "i would like the car replaced with a truck", "let's have a truck in place of the car",
        "can you substitute a truck for the car?", "substitute the car with a truck", "replace the car by a truck",
        "switch the car to a truck", "convert the car to a truck", "put a truck instead of the car",
        "Instead of the car, draw a truck", "put a truck where the car is", "I want the car to be a truck",
        "edit the image so that the car is a truck", "replace car with a truck", "let the car become a truck",
    ],
    "make the car red": [
        "turn the car red", "paint the car red", "color the car red", "recolour the car to red", "dye the car red",
        "change the color of the car to red", "change the car's colour to red", "change the car to red",
        "make the car red in color", "give the car a red color", "give the car a red coat of paint",
        "make the car look red", "the car should be red", "I'd like the car to be red", "make sure the car is red",
        "change the car so that it is red", "paint car in red", "have the car painted red",
    ],
    "make the blue car red": [
        "make the blue car red", "change the car from blue to red", "turn the color of the car from blue to red",
    ],
    "make the wall dark grey": ["paint the wall dark gray", "make the wall a dark grey", "turn the wall dark grey"],
    "make it black and white": [
        "turn the photo black and white", "convert to black and white", "make the image grayscale",
        "turn it into a black and white photo", "change the picture to black and white",
    ],
    "remove the car": [
        "delete the car", "erase the car", "take away the car", "get rid of the car", "take the car out",
        "take the car away", "make the car disappear", "remove the car from the picture", "remove car",
        "take the car out of this photo", "there should be no car", "could you please remove the car, thanks",
        "edit the photo to remove the car", "would you mind removing the car?", "eliminate the car completely",
    ],
    "remove the hat from the man": ["take the hat off the man", "remove hat from the man"],
    "remove all the cars": ["delete all cars", "remove all of the cars", "get rid of all these cars"],
    "add a cup on the left": [
        "put a cup on the left", "insert a cup on the left side", "place a cup at the left", "draw a cup on the left",
        "add a cup to the left of the image", "in the picture, add a cup on the left", "on the left, put a cup",
        "there is a cup on the left", "add on the left a cup", "edit the image by adding a cup to the left hand side",
    ],
    "add flowers": ["add some flowers", "insert some flowers", "add flowers to the photo"],
    "add a tree in the top left corner": [
        "put a tree in the upper left corner", "pop a tree in the top-left corner",
        "Let there be a tree in the top left corner", "we need a tree at the top left of the picture",
    ],
    "move the cup to the left": [
        "put the cup on the left", "shift the cup left", "slide the cup over to the left", "place this cup to the left",
        "move the cup so that it is on the left", "push the cup toward the left side of the picture",
    ],
    "move the cup to the centre": ["center the cup", "move the cup to the middle", "put the cup in the middle"],
    "change the background to a beach": [
        "make it on a beach", "change the background so that it is on a beach", "set the scene on a beach",
        "place the scene on a beach", "move the scene to a beach", "make the background a beach",
        "replace the background with a beach", "turn the backdrop into a beach", "set the picture on a beach",
        "change the background of the image to a beach", "make it look like it is on a beach",
        "take this scene to a beach", "let the scene take place on a beach", "use a beach as the background",
    ],
    "set the scene under the sea": ["make it under the sea", "move the scene under the sea"],
    "make it a painting": [
        "make it look like a painting", "turn it into a painting", "convert the photo to a painting",
        "draw it as a painting", "make the image a painting", "change the style to a painting", "turn into a painting",
    ],
    "make it a cartoon": ["draw it in cartoon style", "make it in the style of a cartoon", "apply a cartoon filter"],
    "make it in van gogh style": [
        "make it in the style of Van Gogh", "paint the picture in Van Gogh's style", "change the style to van gogh",
    ],
    "make it night": [
        "turn it into night", "make it look like night", "change the scene to nighttime", "turn day into night",
        "change the time of day to night", "make it look as if it were night", "make it a night scene",
    ],
    "make it winter": ["change the season to winter", "make it look like winter", "turn the photo into a winter scene"],
    "make it snow": ["let it snow", "make it snowing", "make it look in falling snow"],
    "make it a normal picture": ["turn it back into a plain photo", "turn the picture back to normal"],
    "make it darker": ["make the image darker", "make the picture darker please", "the picture should be darker"],
    "remove the cat and make the sky red": [
        "delete the cat and then paint the sky red", "Remove the cat. Make the sky red.",
        "get rid of the cat, turn the sky red",
    ],
}  # fmt: skip
APART = [
    ["turn the car into a truck", "turn the car red", "turn the car", "turn the truck into a car"],
    ["make the car a red truck", "make the car a truck", "make the car red"],
    ["put the cup on the left", "put a cup on the left", "put cup on the left", "remove the cup on the left"],
    ["remove the red car", "remove the car", "remove the cars", "remove a car", "remove all cars", "remove two cars"],
    ["remove his hat", "remove her hat", "remove the hat", "remove the hat from the man"],
    ["add a dog", "add two dogs", "add another dog", "remove the dog", "do not add a dog"],
    ["turn the apple into an orange", "turn the apple orange", "turn the orange into an apple"],
    ["swap the cat with the dog", "replace the cat with the dog", "swap the cat for a dog", "swap the dog for a cat"],
    ["make it a dog", "make it look like a dog"],
    ["make the background red", "change the background to a red wall", "remove the background", "make it red"],
    ["make it on a beach", "make it a beach", "put it on a beach", "put the dog on a beach", "add a beach"],
    ["change the background to night", "make it night", "add the night"],
    ["turn it into snow", "make it snow", "add snow", "make it snowy", "make it look like snow"],
    ["add a dog and make it red", "add a dog and make the image red", "make the image red and add a dog"],
    ["add a dog and make it on a beach", "add a dog and change the background to a beach"],
    ["make the dog wear a hat", "give the dog a hat", "replace the dog with a hat"],
    ["put a cup on the left of the table", "put a cup on the left", "put a cup on the table"],
    ["make the car bright red", "make the car red", "make the car dark red"],
    ["turn the dog to the left", "move the dog to the left", "turn the dog into the left"],
    ["make the car look old", "make the car old"],
    ["change the material of the table to a metal", "change the table to a metal"],
    ['add the text "Stop"', 'add the text "STOP"', "add the text stop"],
    ["don't remove the dog", "remove the dog", "remove everything but the dog", "remove only the dog"],
    ["make it plain", "make it a plain picture"],
    ["i want a purple dress", "add a purple dress", "make the dress purple"],
    ["add a cat to the picture on the wall", "add a cat to the picture", "add a cat on the wall"],
    ["make the sky a bit darker", "make the sky darker", "make the sky a lot darker"],
]  # fmt: skip


@pytest.mark.parametrize("text", SAME)
def test_requests_of_one_meaning_get_the_canonical_text(text):
    assert {asked: unify_by_rule(asked) for asked in SAME[text]} == dict.fromkeys(SAME[text], text)


@pytest.mark.parametrize("requests", APART, ids=lambda requests: requests[0])
def test_requests_of_different_meaning_stay_apart(requests):
    assert len({unify_by_rule(request) for request in requests}) == len(requests)


def test_no_two_canonical_texts_of_the_table_are_one():
    found = [unify_by_rule(text) for text in SAME]
    assert found == list(SAME)


@pytest.mark.parametrize(
    "text",
    [
        "give the man a hat",
        "darken the image",
        "make the dog sit",
        "set the scene on fire",
        "zoom in on her face",
        "change the material of the table to a metal",
        "change the dog's expression to a smile",
        "change the car to a darker shade of red",
        "turn the car into the lane",
        "remove all but the dog",
        "remove all of them except the dog",
        "remove all that is red",
        "make all but the car red",
        "move all apart from the dog to the left",
    ],
)
def test_request_that_no_rule_knows_is_only_cleaned(text):
    assert unify_by_rule(f"  Please {text.upper()},  please! ") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Please", "please"), ("...", ""), ("", ""), ("\u2728", ""), ('"make it red"', "make it red"), ("OK!", "ok")],
)
def test_what_is_no_request_keeps_its_words(text, expected):
    assert unify_by_rule(text) == expected


def test_text_in_quotation_marks_keeps_its_capitals_and_punctuation():
    assert (
        unify_by_rule("Please ADD the text \u201cStop. Add  Hope!\u201d to the photo.")
        == 'add the text "Stop. Add Hope!"'
    )
    assert unify_by_rule('change "A" to "B" and "C') == 'change "A" to "B" and "c'


def test_very_long_text_is_only_put_in_lower_case_on_one_line():
    text = "Please turn the CAR\n red " * LONGEST
    assert unify_by_rule(text) == " ".join(text.lower().split())


def test_longest_texts_take_no_time():
    texts = [
        "make it light ", "change the colour of the car from red and ", "in the picture, ", "replace a with ",
        "please ", "put the left on the left and make it ",
    ]  # fmt: skip
    start = time.perf_counter()
    for text in texts:
        unify_by_rule((text * LONGEST)[:LONGEST])
    assert time.perf_counter() - start < 2


STARTS = ("", "please", "can you", "on the left,", "instead of the car,")
VERBS = (
    "make", "turn", "change", "replace", "swap", "put", "move", "remove", "take", "add", "draw", "paint", "set",
    "convert", "substitute", "let", "centre", "apply", "there is", "i want", "do not remove",
)  # fmt: skip
THINGS = (
    "the car", "a car", "car", "the red car", "the dog's hat", "his hat", "it", "the image", "the scene", "snow",
    "the background", "these cars", "all of the cars", "an orange", "the man in the hat", 'the text "Hi"', "a painting",
    "the background of the image",
)  # fmt: skip
LINKS = (
    "to", "into", "with", "for", "by", "so that it is", "look like", "be", "instead of", "should be", "from", ", ",
    "and", "and make", "and add", "where",
)  # fmt: skip
LOOKS = (
    "red", "a bright red", "in red", "night", "in sepia", "a sketch", "in cartoon style", "in the style of monet",
    "snow", "on a beach", "on the left", "to the left of the car", "darker", "normal", "under the sea", "a dog",
    "in the picture", "away", "out", "back", "again", "instead",
)  # fmt: skip


def made_up_requests(number):
    """Requests of random parts, most of them without sense."""
    rng = random.Random(5)
    for _ in range(number):
        parts = [rng.choice(STARTS), rng.choice(VERBS)]
        for _ in range(rng.randint(1, 2)):
            parts += [rng.choice(THINGS), rng.choice(LINKS), rng.choice(LOOKS)]
        yield " ".join(part for part in parts if rng.random() < 0.9) + rng.choice(["", ".", " please", " colour"])


def test_unifying_twice_is_unifying_once():
    texts = [*made_up_requests(6000), *itertools.chain(*SAME.values()), *itertools.chain(*APART)]
    unified = {text: unify_by_rule(text) for text in texts}
    assert {text: once for text, once in unified.items() if unify_by_rule(once) != once} == {}
    assert sum(text.strip() != once for text, once in unified.items()) > 3000


def test_no_text_has_two_blanks_in_a_row():
    assert unify_by_rule("change the picture by one , so that it is a photo") == "make it by one a photo"
    assert not [text for text in map(unify_by_rule, made_up_requests(2000)) if "  " in text]
