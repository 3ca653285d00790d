"""Reverse instructions by rule, on triples of the kinds that published datasets have."""

import pytest

from stages.reverse_edits.checks import ForwardEdit, fault_of
from stages.reverse_edits.rules import reverse_by_rule

SURE = [
    # additions
    ("a man in a park", "a man with a hat in a park", "add a hat to the man", "remove the hat"),
    ("a photo of a lake", "a photo of a lake with some ducks", "Add some ducks.", "Remove the ducks."),
    ("The Eiffel Tower, Paris", "The Eiffel Tower, Paris, with fireworks", "Add fireworks", "Remove the fireworks"),
    ("a plane in the sky", "a plane and a kite in the sky", "insert a kite next to the plane", "remove the kite"),
    ("a city", "a city with a bright rainbow over it", "please add a bright rainbow", "remove the bright rainbow"),
    ("a blue chair on the left", "a blue chair and a kite", "put a kite on the right", "remove the kite"),
    ("a hall", "a hall with a clock hanging over it", "add a clock hanging over the hall", "remove the clock"),
    ("a girl on ice", "a girl wearing a paper crown on ice", "Give her a paper crown.", "Remove the paper crown."),
    ("a kitchen", "a kitchen with a vase of tulips on the counter", "there should be a vase of tulips",
     "remove the vase of tulips"),
    # removals: the words are those of the source caption
    ("a cat and a red ball on the floor", "a cat on the floor", "remove the ball", "add a red ball"),
    ("A man with a dog in a park", "A man in a park", "Remove the dog.", "Add a dog."),
    ("a man wearing a hat", "a man", "remove the hat", "add a hat"),
    ("a dog next to a cat", "a cat", "erase the dog", "add a dog"),
    ("a cup and a pen on a desk", "a cup on the left on a desk", "take the pen away", "add a pen"),
    ("a bus and a taxi driving past", "a bus driving past", "Get rid of the taxi.", "Add a taxi."),
    ("pizza with olives on a board", "pizza on a board", "pick off all the olives", "add olives"),
    ("a beach with umbrellas and a lifeguard tower", "a beach with umbrellas", "no lifeguard tower, please",
     "add a lifeguard tower"),
    ("a red and yellow flower in a garden", "a garden", "remove the flower", "add a red and yellow flower"),
    # colours that the source caption has
    ("a red car on a street", "a blue car on a street", "make the car blue", "make the car red"),
    ("a red car", "a blue car", "change the color of the car to blue", "change the color of the car to red"),
    ("a red car on a street", "a blue car on a street", "turn the red car blue", "turn the blue car red"),
    ("a blue car and a red car", "a blue car and a green car", "make the red car green", "make the green car red"),
    ("a man in a blue shirt", "a man in a red shirt", "have him wear a red shirt", "have him wear a blue shirt"),
    ("a big black cup", "a green cup", "paint the cup green", "paint the cup black"),
    # exchanges
    ("a cat on a sofa", "a dog on a sofa", "replace the cat with a dog", "replace the dog with a cat"),
    ("an apple on a table", "a pear on a table", "swap the apple for a pear", "swap the pear for an apple"),
    ("a herd of sheep in a field", "a herd of cows in a field", "turn the sheep into cows", "turn the cows into sheep"),
    ("a lion at rest", "a tiger at rest", "Turn the lion into a tiger.", "Turn the tiger into a lion."),
    ("a photo of an owl", "a photo of a cat", "Turn it into a cat", "Turn it into an owl"),
    ("a man riding a horse", "a man riding a bicycle", "replace horse with bicycle", "replace bicycle with horse"),
    ("woman with long hair", "woman with short hair", "make her hair short", "make her hair long"),
    ("a photo of a kite by a lake", "a pot by a lake", "change the kite into a pot", "change the pot into a kite"),
    ("a cat and a big dog", "a fox and a dog", "turn the cat into a fox", "turn the fox into a cat"),
    # an article on one side only
    ("a horse in front of mountains", "a horse in front of the sea", "replace the mountains with the sea",
     "replace the sea with mountains"),
    ("seeds in front of red flowers", "seeds in front of a stone wall", "replace the red flowers with a stone wall",
     "replace the stone wall with red flowers"),
    ("bags in a trunk", "a suitcase in a trunk", "swap the bags for a suitcase", "swap the suitcase for bags"),
    # the whole image, where the source caption has the old state
    ("a city by day", "a city by night", "make it night", "make it day"),
    ("a street in summer", "a street in winter", "Change the season to winter.", "Change the season to summer."),
    ("mountains at sunset", "mountains at sunrise", "change the time to sunrise", "change the time to sunset"),
    ("a house in a forest", "a house on a beach", "put it on a beach", "put it in a forest"),
    ("a chair on a street", "a chair on the moon", "let it be on the moon", "let it be on a street"),
    # styles
    ("a house", "a house in the style of Van Gogh", "make it in the style of Van Gogh", "remove the style of Van Gogh"),
    ("a house", "a house as a watercolor painting", "make it a watercolor painting",
     "remove the watercolor painting style"),
    ("two dogs", "two dogs, anime style", "make it anime style", "remove the anime style"),
    ("tall grass", "a Japanese ink painting of tall grass", "make it a Japanese ink painting",
     "remove the Japanese ink painting style"),
]  # fmt: skip
UNSURE = [
    ("a car", "a green car", "make the car green"),  # which colour it had is not said
    ("a house", "a house in winter", "make it winter"),  # nor which season it was
    ("two cats on a sofa", "a dog on a sofa", "turn the cats into a dog"),  # how many cats
    ("a horse in a field", "a zebra in a field", "change the horse to a zebra with stripes"),
    ("a boy", "a boy with a hat and a scarf", "add a hat and a scarf"),
    ("a dog and a cat in the snow", "a dog", "remove the cat"),  # the snow went too
    ("a dog and a cat in the snow", "a dog in the snow", "remove the cat and the ball"),
    ("a woman holding a bowl", "a woman", "remove the bowl"),  # she held it
    ("a man with a dog carrying a stick", "a man with a dog", "get rid of the stick"),
    ("a small and old car in a town", "a town", "remove the car"),  # it was small, too
    ("a tree and a red ball in a garden", "a garden", "remove the ball"),  # the tree went too
    ("a car in a town", "a car with a dented hood in a town", "dent the hood of the car"),  # the hood was there
    ("a chair in a room", "a chair with a broken leg in a room", "break one leg of the chair"),
    ("two kids", "two kids and a woman on a swing", "bring in a woman on a swing"),  # the swing came too
    ("a wooden spoon", "a silver spoon", "make the spoon out of silver"),  # "out of wooden"
    ("shoes on a white background", "shoes on a forest trail", "change the background to a forest trail"),
    ("a red cat and a red dog", "a blue fox and a blue dog", "turn the red cat into a blue fox"),
    ("by a lake, a green kite", "a green kite on grass by a lake at night", "make it look at night"),
    ("a dog", "two dogs", "add a dog"),  # "remove the dog"
    ("a room", "a room with a painting on the wall", "hang a painting on the wall"),
    ("a bird on a branch", "a flying bird", "make it fly"),
    ("a cat", "a cat", "make it better"),
    ("a cat", "a dog", ""),
    ("a red bus and a red car", "a blue bus and a blue car", "make them blue"),
    ("un chat noir", "un chien noir", "remplacer le chat par un chien"),
]


@pytest.mark.parametrize(("source", "target", "instruction", "reverse"), SURE)
def test_sure_rule_writes_the_reverse_and_it_passes_the_checks(source, target, instruction, reverse):
    assert reverse_by_rule(source, target, instruction) == reverse
    assert fault_of(ForwardEdit(source=source, target=target, instruction=instruction), reverse, 30) is None


@pytest.mark.parametrize(("source", "target", "instruction"), UNSURE)
def test_no_rule_is_sure_of_an_edit_that_says_too_little_or_too_much(source, target, instruction):
    assert reverse_by_rule(source, target, instruction) is None


@pytest.mark.parametrize(
    ("source", "target", "instruction", "reverse", "fault"),
    [
        ("a car", "a green car", "make the car green", "make the car white again", "reverse_invents"),
        ("a red car", "a green car", "make the car green", "make the car red", None),
        ("a red car", "a green car", "make the car green", "keep the car", "reverse_does_not_undo"),
        ("a red car", "a green car", "make the car green", "make the car green", "reverse_does_not_undo"),
        ("a park", "a park with a dog", "add a dog", "remove the brown dog", "reverse_invents"),
        ("a park", "a park with a dog", "add a dog", "remove the dog", None),
        ("a park", "a park with a dog", "add a dog", "no", "wrong_length"),
        ("a park", "a park with a dog", "add a dog", "entferne den Hund aus dem Park", "other_language"),
    ],
)
def test_checks_find_what_a_reverse_gets_wrong(source, target, instruction, reverse, fault):
    found = fault_of(ForwardEdit(source=source, target=target, instruction=instruction), reverse, 30)
    assert (None if found is None else found.value) == fault
