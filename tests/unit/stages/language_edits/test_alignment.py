import pytest

from stages.language_edits.alignment import align, head_of, phrases

# source caption | target caption | thing | source phrase | target phrase
PHRASES = """
a red car on a street | a blue car on a street | car | red car | blue car
a car parked by a shop | a truck parked by a shop | car | car | truck
a woman on a bench | a woman on a white wooden bench | bench | bench | white wooden bench
white ceramic teapot on a cloth | cobalt blue ceramic teapot on a cloth | teapot | white ceramic teapot | cobalt blue ceramic teapot
a man with a small brown dog in a park | a man in a park | dog | small brown dog |
a corgi on a field | a corgi on a field with a red ball | ball | | red ball
a bear on a shore | a bear wearing a party hat on a shore | bear | bear | party hat
a dog on a sandy beach | a dog in a deep forest | background | sandy beach | deep forest
a boat under a cloudy sky | a boat under a starry sky | picture | cloudy sky | starry sky
hills on a foggy morning | hills on a clear morning | picture | foggy morning | clear morning
a cat on a sofa | a pencil sketch of a cat on a sofa | picture | | pencil sketch
people taking pictures of a tower | people taking pictures of a tower in the snow | picture | | snow
a cup on the left | a cup on the right | cup | left | right
a cup on a table | a cup on the left on a table | cup | cup | left
a glass of red wine | a glass of orange juice | wine | red wine | orange juice
A Dog, lying. | A FOX, lying. | dog | dog | fox
"""  # noqa: E501  a table


@pytest.mark.parametrize("line", PHRASES.strip().splitlines())
def test_phrases_name_the_change_with_its_noun(line):
    source, target, thing, *expected = (cell.strip() for cell in line.split("|"))
    found = phrases(source, target, thing)
    assert found == tuple(expected)


def test_words_that_came_and_went_are_told_from_those_that_moved():
    change = align("on a beach, a big red car", "a blue car on a beach")
    assert change.removed == ("big", "red")
    assert change.added == ("blu",)
    assert not change.is_none


def test_every_occurrence_of_a_word_counts():
    change = align("a red car and a red bus", "a red car and a bus")
    assert (change.removed, change.added) == (("red",), ())


@pytest.mark.parametrize("target", ["The car is on the street.", "car on a street", "a car, on a street"])
def test_articles_and_punctuation_are_no_change(target):
    assert align("a car on a street", target).is_none


def test_place_word_is_a_change_in_no_place_with_meaning():
    change = align("a cat beside a sofa", "a cat behind a sofa")
    assert not change.is_none
    assert change.num_places == 0


def test_places_count_where_words_with_meaning_changed():
    assert align("a red car and a blue bus", "a green car and a white bus").num_places == 2
    assert align("a red car and the blue bus", "a green car and a blue bus").num_places == 1


def test_captions_without_words_have_no_change():
    assert align("", "").is_none
    assert align("", "a dog").added == ("dog",)
    assert phrases("", "", "") == ("", "")


def test_head_is_the_noun_before_of():
    assert [head_of(thing) for thing in ("red cars", "a glass of wine", "of", "", "clock tower")] == [
        "car", "glass", "of", "", "tower",
    ]  # fmt: skip
