import itertools

import pytest

from stages.sessions.pairs import Turn, all_changes_last, composed_pair, inverse_pair, joined, turn_pair

A = "a red car and a cat on a beach"
B = "a blue car and a cat on a beach"


def turn(before, after, instruction="make it so", **texts):
    known = {"source_caption": before, "target_caption": after, "instruction": instruction, **texts}
    return Turn(
        source=(b"before", "jpg"), target=(b"after", "png"), texts=known, columns={"session_l1": 0.1, "edit_model": "x"}
    )


@pytest.mark.parametrize(
    ("captions", "last"),
    [
        ([A, B, "a blue car and a dog on a beach"], True),
        ([A, B, "a green car and a cat on a beach"], False),
        ([A, B, A], False),
        ([A, "a car and a cat on a beach", "a blue car and a cat on a beach"], True),
        ([A, "a red car on a beach", "a red car and a cat on a beach"], False),
        ([A, B, "a blue car and a dog on a beach", "a blue car and a dog in a street"], True),
        ([A, B, "a blue car and a dog on a beach", "a red car and a dog on a beach"], False),
        ([A, A, B], False),
        ([A, None, B], False),
        ([A, B, ""], False),
        (["a red car", "an orange car", "an orange owl"], True),
        (["A red car.", "a blue car", "a blue bus"], True),
    ],
    ids=[
        "two words", "overridden", "undone", "removed and added", "back again", "three", "one of three undone",
        "nothing", "no caption", "empty", "article", "case and points",
    ],
)  # fmt: skip
def test_all_changes_last_unless_a_turn_touches_an_earlier_one(captions, last):
    assert all_changes_last(list(itertools.pairwise(captions))) is last


def test_composition_goes_from_the_first_source_to_the_last_target():
    turns = [
        turn(A, B, "Make the car blue.", reverse_instruction="make the car red", edit_writer="model"),
        turn(B, "a blue car and a dog on a beach", "Change the cat to a dog", reverse_instruction="dog to cat",
             edit_writer="model"),
    ]  # fmt: skip
    turns[1].target = (b"last", "webp")
    suffix, row = composed_pair(turns)
    assert suffix == "s1to2"
    assert row["instruction"] == "Make the car blue, then change the cat to a dog"
    assert row["reverse_instruction"] == "dog to cat, then make the car red"
    assert (row["source_caption"], row["target_caption"]) == (A, "a blue car and a dog on a beach")
    assert (row["source_images"], row["source_format"]) == ([b"before"], "jpg")
    assert (row["target_image"], row["target_format"]) == (b"last", "webp")
    assert (row["pair_kind"], row["turn"], row["edit_type"], row["edit_writer"]) == (
        "composition", 2, "composition", "model",
    )  # fmt: skip
    assert row["session_l1"] == 0.1
    assert "edit_model" not in row


def test_composition_in_which_a_turn_is_overridden_is_none():
    assert composed_pair([turn(A, B), turn(B, "a green car and a cat on a beach")]) is None


def test_composition_has_a_reverse_only_where_each_turn_has_one():
    _, row = composed_pair([turn(A, B, reverse_instruction="x"), turn(B, "a blue car and a dog on a beach")])
    assert row["reverse_instruction"] is None


def test_inverse_swaps_images_captions_phrases_and_instructions():
    forward = turn(A, B, "make it blue", reverse_instruction=" make it red ", edit_type="change_colour",
                   source_phrase="red car", target_phrase="blue car", edit_object="car")  # fmt: skip
    suffix, row = inverse_pair(2, forward, ["change_colour"])
    assert (suffix, row["pair_kind"], row["turn"]) == ("s2r", "inverse", 2)
    assert (row["source_images"], row["target_image"]) == ([b"after"], b"before")
    assert (row["source_format"], row["target_format"]) == ("png", "jpg")
    assert (row["instruction"], row["reverse_instruction"]) == ("make it red", "make it blue")
    assert (row["source_caption"], row["target_caption"]) == (B, A)
    assert (row["source_phrase"], row["target_phrase"], row["edit_object"]) == ("blue car", "red car", "car")


@pytest.mark.parametrize(("kind", "undone"), [("add", "remove"), ("remove", "add"), ("replace", "replace")])
def test_inverse_of_an_addition_is_a_removal(kind, undone):
    _, row = inverse_pair(1, turn(A, B, reverse_instruction="back", edit_type=kind), [kind])
    assert row["edit_type"] == undone


@pytest.mark.parametrize(
    "texts",
    [
        {"edit_type": "change_style", "reverse_instruction": "back"},
        {"edit_type": None, "reverse_instruction": "back"},
        {"edit_type": "add", "reverse_instruction": " "},
        {"edit_type": "add"},
    ],
)
def test_turn_that_words_do_not_undo_has_no_inverse(texts):
    assert inverse_pair(1, turn(A, B, **texts), ["add"]) is None


def test_row_of_a_turn_says_how_its_image_was_made():
    suffix, row = turn_pair(3, turn(A, B, edit_type="add"))
    assert (suffix, row["pair_kind"], row["turn"], row["edit_model"], row["edit_type"]) == ("s3", "turn", 3, "x", "add")


def test_joined_instructions_lose_points_and_capitals_between_them():
    assert joined(["Add a dog. ", "Make it  night!", "zoom in"]) == "Add a dog, then make it night, then zoom in"
