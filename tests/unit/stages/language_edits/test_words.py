import pytest

from stages.language_edits.words import alike, content, named_in, normalised, stem, with_general, words


@pytest.mark.parametrize(
    "forms",
    [
        "dog dogs dog's", "bus buses", "berry berries", "box boxes", "bench benches", "leaf leaves", "wolf wolves",
        "man men", "child children", "colour color colours colored", "grey gray", "snow snowy",
        "stripe striped",
        "gold golden", "wood wooden", "run running", "stone stones", "break broken", "freeze frozen", "peel peeled",
        "paint painting painted", "horse horses", "house houses", "glass glasses", "roll rolling", "cactus",
    ],
)  # fmt: skip
def test_forms_of_a_word_have_one_stem(forms):
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize(
    "pair",
    ["car cat", "bed bedroom", "sheep ship", "red read", "ring string", "glass grass", "left leaf", "wing window"],
)
def test_different_words_have_different_stems(pair):
    one, other = pair.split()
    assert stem(one) != stem(other)


def test_words_that_mean_the_same_edit_are_alike():
    assert alike(stem("snow"), stem("winter"))
    assert alike(stem("dusk"), stem("sunset"))
    assert not alike(stem("snow"), stem("rain"))
    assert named_in(stem("rain"), frozenset({stem("thunderstorm")}))
    assert not named_in(stem("dog"), frozenset({stem("cat")}))


def test_content_leaves_out_words_that_show_nothing():
    assert content("There is a Dog on the grass, next to its two balls.") == ("dog", "grass", "two", "ball")
    assert words("Don't touch the 3 T-shirts!") == ("don't", "touch", "the", "3", "t-shirts")


def test_general_word_stands_for_a_special_one():
    assert with_general({stem("corgi"), stem("field")}) == {stem(word) for word in ("corgi", "dog", "animal", "field")}
    assert with_general(set()) == frozenset()


def test_normalised_texts_differ_by_words_alone():
    assert normalised("Please, make the Car RED!") == normalised("make car red") == "make car red"
    assert normalised("make the bar red") != normalised("make the car red")
