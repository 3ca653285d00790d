import pytest

from trainer.sides import names_side


@pytest.mark.parametrize(
    "text",
    [
        "move the cat to the left", "the RIGHT one", "remove the leftmost tree", "rightwards", "turn it clockwise",
        "turn it anti-clockwise", "counterclockwise", "mirrored", "flip the image", "her left-hand glove",
        "horizontally", "the eastern gate", "a cat, left.", "in the northwest", "south-eastern",
        "its topleft corner",
    ],
)  # fmt: skip
def test_text_that_names_a_side_is_found(text):
    assert names_side(text)


@pytest.mark.parametrize(
    "text", ["", "make it bright", "a leftover", "copyright sign", "at least one", "upright", "a clock"]
)
def test_word_that_only_contains_a_side_is_none(text):
    assert not names_side(text)
