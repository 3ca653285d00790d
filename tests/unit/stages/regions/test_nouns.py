"""Nouns that name things: the bundled list, those of captions, those of all captions."""

import pytest

from models.language.wordnet import WordNet
from stages.regions.nouns import caption_nouns, counted_nouns, everyday_things


@pytest.fixture(scope="module")
def wordnet():
    return WordNet()


def test_the_bundled_list_is_sorted_and_has_each_thing_once():
    things = everyday_things()
    assert list(things) == sorted(set(things))
    assert len(things) > 500
    assert {"dog", "traffic light", "fire truck", "pizza", "sofa", "cloud"} <= set(things)
    assert all(thing == thing.strip().lower() and thing for thing in things)


def test_most_bundled_things_are_nouns_of_wordnet_in_the_singular(wordnet):
    others = [thing for thing in everyday_things() if wordnet.lemma(thing, "n") != thing]
    assert others == ["ceiling fan", "chopsticks", "jeans", "nightstand", "stop sign", "trousers"]


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("a red car and two black dogs on the left side of a street", ("car", "dog", "street")),
        ("A man rides a fire truck. The fire truck is new.", ("man", "fire truck")),
        ("", ()),
        ("running fast", ()),
    ],
)
def test_nouns_of_a_caption_are_its_heads_in_the_singular(caption, nouns, wordnet):
    assert caption_nouns(caption, wordnet) == nouns


def test_counted_words_are_joined_by_their_singular_and_verbs_left_out(wordnet):
    counts = {"dog": 3, "dogs": 2, "cat": 4, "riding": 90, "red": 90, "the": 90, "sitting": 90, "street": 7}
    assert counted_nouns(counts, 5, wordnet) == ("dog", "street")
    assert counted_nouns(counts, 4, wordnet) == ("cat", "dog", "street")
