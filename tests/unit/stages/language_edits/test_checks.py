"""The checks on edits of captions of real photographs: what each lets pass and what it finds."""

import pytest

from models.language.example_sets import BUNDLED, read_examples
from stages.language_edits.checks import CHECKS, faults_of
from stages.language_edits.edit_kinds import EDIT_KINDS
from stages.language_edits.judged import EditFault, Judged, Lengths
from stages.language_edits.prompt import Shown
from stages.language_edits.schema import FIELDS, EditAnswer

# caption | type | instruction | object | target caption | reverse instruction
GOOD = """
a corgi running across a grassy field | add | Put a red ball in front of the corgi. | ball | a corgi running across a grassy field with a red ball in front of it | Remove the red ball.
two dogs running together on a sandy beach | add | add a third dog | dog | two dogs and a third dog running together on a sandy beach | take the third dog out
a large tree in front of an apartment building | add | hang a wooden swing from the tree | swing | a large tree with a wooden swing in front of an apartment building | take down the wooden swing
cricket players on a green field | add | let it have a seagull in the sky | seagull | cricket players on a green field with a seagull in the sky | erase the seagull
a frog with a snail on its head sitting on a rock in the water | remove | Remove the snail from the frog's head. | snail | a frog sitting on a rock in the water | Put a snail on the frog's head.
a white bulldog looking up at a woman holding a bowl | remove | make the bowl disappear | bowl | a white bulldog looking up at a woman | give the woman a bowl to hold
parked cars beside a gray building on an empty street | remove | clear away the parked cars | cars | a gray building on an empty street | park cars beside the gray building
people walking past a blue electric bus on a city street | replace | Replace the bus with a tram. | bus | people walking past a blue electric tram on a city street | Replace the tram with a bus.
grocery bags in the open trunk of a car | replace | swap the grocery bags for suitcases | bags | suitcases in the open trunk of a car | swap the suitcases for grocery bags
a clock tower in front of tall skyscrapers on a sunny day | replace | change the clock tower into a windmill | clock tower | a windmill in front of tall skyscrapers on a sunny day | change the windmill back into a clock tower
a silver car parked in front of a print shop | change_colour | Make the car red. | car | a red car parked in front of a print shop | Make the car silver.
a woman sitting on a green bench among fallen leaves | change_colour | paint the bench white | bench | a woman sitting on a white bench among fallen leaves | paint the bench green again
a large tree in front of an apartment building | change_colour | turn the tree purple | tree | a large purple tree in front of an apartment building | give the tree its original colour back
two men in orange shirts sitting on a wooden bench | change_colour | change the colour of the shirts to navy blue | shirts | two men in navy blue shirts sitting on a wooden bench | make the shirts orange
a brown horse standing on a grassy hill in front of mountains | transform_local | let the horse lie down | horse | a brown horse lying on a grassy hill in front of mountains | let the horse stand up
a mother bear and two cubs sitting on a lake shore | transform_local | have the bear wear a party hat | bear | a mother bear wearing a party hat and two cubs sitting on a lake shore | remove the party hat
a cup of coffee on a red saucer on a wooden table | transform_local | break the saucer | saucer | a cup of coffee on a broken red saucer on a wooden table | repair the saucer
a lighthouse beside old stone arches under a clear blue sky | transform_global | Make it a stormy evening. | picture | a lighthouse beside old stone arches under a stormy evening sky | Bring back the clear blue sky.
cricket players on a green field | transform_global | let it snow | picture | cricket players on a green field covered in snow | stop the snow
a white rocket on a launch pad at night | transform_global | turn night into a foggy morning | picture | a white rocket on a launch pad on a foggy morning | make it night
a golden retriever in front of a blue background | change_background | Put the dog in a library. | background | a golden retriever in a library | Bring back the blue background.
a yellow sunflower on a black background | change_background | make the background a cornfield | background | a yellow sunflower in front of a cornfield | make the background black
a corgi running across a grassy field | change_background | move the corgi to a snowy street | background | a corgi running across a snowy street | move the corgi to a grassy field
a red and yellow flower in a garden | change_style | Make it a watercolour painting. | picture | a watercolour painting of a red and yellow flower in a garden | Make it a normal photograph.
people walking past a blue electric bus on a city street | change_style | turn the photo into a pencil sketch | picture | a pencil sketch of people walking past a blue electric bus on a city street | turn the pencil sketch back into a photo
dandelion seeds in front of orange flowers | turn | turn the dandelion seeds into tiny parachutes | seeds | tiny parachutes in front of orange flowers | turn the tiny parachutes into dandelion seeds
a colorful bird perched on a branch | turn | turn the bird into an owl | bird | an owl perched on a branch | turn the owl into a colorful bird
"""  # noqa: E501  a table

BAD = """
other_edit_type | a corgi running across a grassy field | add:remove | add a ball | ball | a corgi running across a grassy field with a ball | remove the ball
wrong_length | a silver car parked in front of a print shop | change_colour | red | car | a red car parked in front of a print shop | make the car silver
wrong_length | a silver car parked in front of a print shop | change_colour | make the car red | car | a red car parked in front of a print shop | silver
other_language | a silver car parked in front of a print shop | change_colour | mach das auto rot | car | a red car parked in front of a print shop | make the car silver
other_language | a silver car parked in front of a print shop | change_colour | mets la voiture en rouge | car | a red car parked in front of a print shop | make the car silver
other_language | a silver car parked in front of a print shop | change_colour | make the car red | car | a красный car parked in front of a print shop | make the car silver
other_language | a silver car parked in front of a print shop | change_colour | change the caption so that the car is red | car | a red car parked in front of a print shop | make the car silver
no_change | a silver car parked in front of a print shop | change_colour | make the car silver | car | The silver car parked in front of a print shop. | make the car silver again
no_change | a red and yellow flower in a garden | change_colour | make the flower yellow and red | flower | a yellow and red flower in a garden | make the flower red and yellow again
rewritten_caption | people walking past a blue electric bus on a city street | change_colour | make the bus red | bus | a red bus drives by pedestrians downtown | make the bus blue
rewritten_caption | a mother bear and two cubs sitting on a lake shore | replace | replace the cubs with foxes | cubs | a father wolf and two foxes playing near a river shore | replace the foxes with cubs
rewritten_caption | a corgi running across a grassy field | change_background | put the corgi on a beach | background | a woman relaxing under palm trees on a beach | put the corgi on a grassy field
rewritten_caption | a corgi running across a grassy field | add | add a ball | ball | a corgi playing with a ball | remove the ball
rewritten_caption | a white truck parked in front of a red wall | change_colour | make the truck blue | truck | a white truck parked in front of a blue wall | make the truck white
rewritten_caption | a large tree in front of an apartment building | transform_local | let the tree bloom | tree | a blooming garden in front of an apartment building | undo the bloom
rewritten_caption | two dogs running together on a sandy beach | remove | remove the dogs | dogs | horses running together on a sandy beach | put two dogs on the sandy beach
absent_thing | a corgi running across a grassy field | remove | remove the cat | cat | a corgi running across a field | put a cat on the grassy field
absent_thing | a cup of coffee on a red saucer on a wooden table | change_colour | make the tablecloth blue | tablecloth | a cup of coffee on a blue saucer on a wooden table | make the saucer red
absent_thing | a silver car parked in front of a print shop | replace | replace the red car with a van | car | a silver van parked in front of a print shop | replace the van with a car
absent_thing | cricket players on a green field | add | put a hat on the umpire | hat | cricket players with a hat on a green field | remove the hat
absent_thing | a colorful bird perched on a branch | change_background | put the parrot into a city | background | a colorful bird perched in a city | put it back on a branch
absent_thing | a yellow sunflower on a black background | transform_local | wilt everything slowly | petals | a wilting yellow sunflower on a black background | undo the wilting
thing_already_there | two dogs running together on a sandy beach | add | add a dog | dog | two dogs and a small dog running together on a sandy beach | remove the small dog
thing_already_there | a red and yellow flower in a garden | remove | remove the flower | flower | a yellow flower in a garden | make the flower red and yellow
unnamed_change | a silver car parked in front of a print shop | change_colour | change the car | car | a red car parked in front of a print shop | make the car silver
unnamed_change | a corgi running across a grassy field | add | add a ball | ball | a corgi with a shiny plastic toy running across a grassy field | remove the ball
unnamed_change | an old man sitting on a green bench in a park | add | add a dog | dog | an old man with a small brown sleeping spaniel dog sitting on a green bench in a park | remove the dog
unnamed_change | a red and yellow flower in a garden | change_style | make it look like a sketch | picture | an oil painting of a red and yellow flower in a garden | make it a photo
unnamed_change | a colorful bird perched on a branch | transform_local | let the bird sleep | bird | a bird perched on a branch | make the bird colorful
reverse_does_not_undo | a silver car parked in front of a print shop | change_colour | make the car red | car | a red car parked in front of a print shop | make the car red
reverse_does_not_undo | people walking past a blue electric bus on a city street | replace | replace the bus with a tram | bus | people walking past a blue electric tram on a city street | remove the tram
reverse_does_not_undo | a corgi running across a grassy field | add | add a ball | ball | a corgi running across a grassy field with a ball | remove the corgi
reverse_does_not_undo | a white bulldog looking up at a woman holding a bowl | remove | remove the bowl | bowl | a white bulldog looking up at a woman | make the woman look at the bulldog
reverse_does_not_undo | a yellow sunflower on a black background | change_background | make the background a cornfield | background | a yellow sunflower in a cornfield | keep the cornfield
reverse_invents | a large tree in front of an apartment building | change_colour | turn the tree purple | tree | a large purple tree in front of an apartment building | turn the tree back to green
reverse_invents | a colorful bird perched on a branch | change_background | put the bird in front of a city | background | a colorful bird perched on a branch in front of a city | change the city back to a forest
reverse_invents | a white truck parked in front of a red wall | transform_local | cover the wall with posters | wall | a white truck parked in front of a red wall covered with posters | make the wall white again
reverse_invents | a corgi running across a grassy field | add | add a ball | ball | a corgi running across a grassy field with a ball | remove the blue ball
reverse_invents | tall green grass in a meadow | transform_global | make it winter | picture | tall green grass in a meadow in winter | make it summer again
reverse_invents | a white dog sitting on a wooden bench in a field | remove | remove the bench | bench | a white dog sitting in a field | put the white dog back on an iron bench
"""  # noqa: E501  a table


def rows(table):
    return [tuple(cell.strip() for cell in line.split("|")) for line in table.strip().splitlines()]


def judged(caption, asked, instruction, thing, target, reverse, **more):
    """An answer of the type asked for; "asked:answered" where the answer has another."""
    asked, _, answered = asked.partition(":")
    answer = EditAnswer(answered or asked, instruction, thing, target, reverse)
    return Judged(caption=caption, edit_type=asked, answer=answer, **more)


def shown(*instructions, targets=()):
    return {"shown_instructions": Shown(instructions).shown_instructions, "shown_targets": frozenset(targets)}


CORGI = ("a corgi on a field", "add", "add a ball", "ball", "a corgi on a field with a ball", "remove the ball")


@pytest.mark.parametrize("row", rows(GOOD), ids=lambda row: row[2])
def test_good_edit_of_a_photograph_passes(row):
    assert faults_of(judged(*row)) == []


@pytest.mark.parametrize("row", rows(BAD), ids=lambda row: f"{row[0]}-{row[3]}")
def test_faulty_edit_of_a_photograph_is_found(row):
    fault, *edit = row
    assert EditFault(fault) in faults_of(judged(*edit))


def test_every_check_has_a_row_that_it_finds():
    found = {EditFault(row[0]) for row in rows(BAD)}
    by_context = {EditFault.COPIED_EXAMPLE, EditFault.DUPLICATE_EDIT, EditFault.OTHER_CAPTION}
    assert found | by_context == set(CHECKS) == set(EditFault) - {EditFault.UNPARSABLE, EditFault.NO_CAPTION}


def test_most_faulty_edits_have_one_fault():
    alone = [row for row in rows(BAD) if faults_of(judged(*row[1:])) == [EditFault(row[0])]]
    assert len(alone) > 0.6 * len(rows(BAD))


def test_repeated_caption_has_to_be_the_one_that_was_given():
    given = EditAnswer(*CORGI[1:], caption="A corgi, on a field")
    other = EditAnswer(*CORGI[1:], caption="a dog on a field")
    assert faults_of(Judged(caption=CORGI[0], edit_type="add", answer=given)) == []
    assert faults_of(Judged(caption=CORGI[0], edit_type="add", answer=other)) == [EditFault.OTHER_CAPTION]


@pytest.mark.parametrize(
    ("instruction", "target", "is_copy"),
    [
        ("add a ball", "a corgi on a field with a ball", True),  # shown, and about nothing of this caption
        ("Please, add the ball!", "a corgi on a field with a ball", True),
        ("add a ball for the corgi", "a corgi on a field with a ball", False),  # shown, but of this caption's corgi
        ("add a big ball", "a corgi on a field with a big ball", False),
        ("add a kite", "a corgi on a field with a kite", True),  # the target caption is one of those shown
    ],
)
def test_copy_of_what_the_prompt_showed_is_found(instruction, target, is_copy):
    thing = "kite" if "kite" in target else "ball"
    context = shown("add a ball", "add a ball for the corgi", targets=["corgi on field with kite"])
    row = judged(CORGI[0], "add", instruction, thing, target, f"remove the {thing}", **context)
    assert faults_of(row) == ([EditFault.COPIED_EXAMPLE] if is_copy else [])


@pytest.mark.parametrize(
    ("instruction", "target", "is_repeated"),
    [
        ("Add a ball.", "a corgi on a field with a round ball", True),
        ("put a ball there", "A corgi on a field, with a ball", True),
        ("add a kite", "a corgi on a field with a kite", False),
    ],
)
def test_edit_that_the_parent_has_is_found(instruction, target, is_repeated):
    thing = "kite" if "kite" in target else "ball"
    row = judged(CORGI[0], "add", instruction, thing, target, f"remove the {thing}", earlier=(EditAnswer(*CORGI[1:]),))
    assert faults_of(row) == ([EditFault.DUPLICATE_EDIT] if is_repeated else [])


def test_bounds_on_length_are_inclusive():
    exact = Lengths(min_instruction=3, max_instruction=3, min_caption=8, max_caption=8)
    assert faults_of(judged(*CORGI, lengths=exact)) == []
    for change in ({"min_instruction": 4}, {"max_instruction": 2}, {"min_caption": 9}, {"max_caption": 7}):
        narrow = {"min_instruction": 3, "max_instruction": 3, "min_caption": 8, "max_caption": 8, **change}
        assert faults_of(judged(*CORGI, lengths=Lengths(**narrow))) == [EditFault.WRONG_LENGTH]


def test_letters_of_the_caption_are_no_other_language():
    sign = "a shop with the sign 東京 above its door"
    row = (sign, "change_colour", "paint the door red", "door", sign.replace("door", "red door"), "undo the red paint")
    assert faults_of(judged(*row)) == []


def test_unknown_type_of_edit_is_checked_too():
    row = (
        CORGI[0],
        "zoom",
        "zoom in on the corgi",
        "corgi",
        "a close view of a corgi on a field",
        "zoom out of the view",
    )
    assert EditFault.REWRITTEN_CAPTION not in faults_of(judged(*row))
    row = (CORGI[0], "zoom", "zoom in on the cat", "cat", "a close view of a corgi on a field", "undo it")
    assert EditFault.ABSENT_THING in faults_of(judged(*row))


def test_examples_of_photographs_pass_their_own_checks():
    edits = read_examples(BUNDLED / "photographs.jsonl").edits
    answers = [(edit, EditAnswer(**{name: getattr(edit, name) for name in FIELDS})) for edit in edits]
    faulty = [
        (edit.id, found)
        for edit, answer in answers
        if (found := faults_of(Judged(caption=edit.caption, edit_type=edit.edit_type, answer=answer)))
    ]
    assert len(faulty) <= len(edits) // 50, faulty


@pytest.mark.parametrize("edit_type", sorted(EDIT_KINDS))
@pytest.mark.parametrize("caption", ["a corgi on a field", "..."])
def test_answer_without_words_has_faults(caption, edit_type):
    found = faults_of(judged(caption, edit_type, "!", "?", "...", "-"))
    assert EditFault.WRONG_LENGTH in found


def test_type_with_a_capital_is_that_type():
    caption, _, *edit = CORGI
    assert faults_of(judged(caption, "Add a Thing", *edit)) == []
    assert faults_of(judged(caption, "Add a Thing:add_a_thing", *edit)) == []
