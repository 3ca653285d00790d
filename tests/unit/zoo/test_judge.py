import json
import random

import pytest

from zoo.train_llm import HARD_FRAC, PROMPT, lesson, practice
from zoo.world import KINDS
from zoo.world.judge import fault_of

SOURCE = "a red car and a blue cat in a meadow"
GOOD = {
    "edit_type": "change_colour",
    "object": "car",
    "instruction": "make the car green",
    "target_caption": "a green car and a blue cat in a meadow",
    "reverse_instruction": "paint the car red",
}


@pytest.mark.parametrize("hard_frac", [0.0, HARD_FRAC])
def test_every_lesson_of_the_language_model_is_consistent(hard_frac):
    seen = set()
    for index in range(600):
        prompt, answer = lesson(random.Random(index), hard_frac)
        edit = json.loads(answer)
        source = prompt.removeprefix(PROMPT.split("{")[0]).split("\n")[0]
        assert fault_of(source, edit) is None, (source, answer)
        seen.add(edit["edit_type"])
    assert seen == set(KINDS)


def test_practice_asks_for_what_the_caption_says():
    for index in range(200):
        prompt, answer = practice(random.Random(index))
        caption, task = prompt.removeprefix("Caption: ").split("\n")
        if task == "Again: ":
            assert answer == caption
        else:
            listed = answer.split()
            assert len(listed) == 6
            assert all(f"{colour} {noun}" in caption for noun, colour in zip(listed[::2], listed[1::2], strict=True))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"target_caption": SOURCE}, "target_caption"),
        ({"target_caption": "a green car and a blue cat on a beach"}, "target_caption"),
        ({"target_caption": "a green bus and a blue cat in a meadow"}, "target_caption"),
        ({"object": "cat"}, "object"),
        ({"instruction": "make the cat green"}, "instruction"),
        ({"instruction": "make the car yellow"}, "instruction"),
        ({"reverse_instruction": "paint the car green"}, "reverse_instruction"),
        ({"instruction": "make the blue car green"}, "instruction"),
        ({"reverse_instruction": "paint the yellow car red"}, "reverse_instruction"),
        ({"edit_type": "remove"}, "target_caption"),
        ({"edit_type": "explode"}, "edit_type"),
        ({"object": ""}, "fields"),
        ({"mood": "bright"}, "fields"),
    ],
)
def test_an_edit_that_contradicts_itself_is_found_out(change, fault):
    assert fault_of(SOURCE, GOOD) is None
    assert fault_of(SOURCE, {**GOOD, **change}) == fault


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"object": "zebra"}, "object"),
        ({"instruction": "move the car to the left"}, "instruction"),
        ({"instruction": "move the cat to the right"}, "instruction"),
        ({"reverse_instruction": "move the car to the right"}, "reverse_instruction"),
        ({"target_caption": "a red car on a beach"}, "target_caption"),
        ({"target_caption": "a blue car on the right on a beach"}, "target_caption"),
        ({"target_caption": "a red car on the right on a beach on a street"}, "target_caption"),
    ],
)
def test_a_move_must_say_what_goes_where(change, fault):
    good = {
        "edit_type": "move", "object": "car", "instruction": "move the car to the right",
        "target_caption": "a red car on the right on a beach", "reverse_instruction": "put the car in the centre",
    }  # fmt: skip
    assert fault_of("a red car on a beach", good) is None
    assert fault_of("a red car on a beach", {**good, **change}) == fault
