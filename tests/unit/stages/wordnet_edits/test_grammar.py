import unicodedata

import pytest

from models.language.wordnet import WordNet
from stages.wordnet_edits.grammar import article_for, indefinite, match_case, pluralise, replace_span, tokenise
from stages.wordnet_edits.phrases import noun_phrases
from stages.wordnet_edits.requests import ADJECTIVE_TEMPLATES, NOUN_TEMPLATES, Named, request, templates_for


@pytest.fixture(scope="module")
def wordnet():
    return WordNet()


def test_tokens_keep_their_place():
    caption = "A mother-in-law's café, 2 dogs!"
    tokens = tokenise(caption)
    assert [token.lower for token in tokens] == ["a", "mother-in-law's", "café", "2", "dogs"]
    assert all(caption[token.start : token.end] == token.text for token in tokens)


@pytest.mark.parametrize(("like", "expected"), [("bus", "train"), ("Bus", "Train"), ("BUS", "TRAIN"), ("A", "Train")])
def test_case_is_kept(like, expected):
    assert match_case("train", like) == expected


@pytest.mark.parametrize(
    ("word", "article"),
    [("otter", "an"), ("bench", "a"), ("hour", "an"), ("unicorn", "a"), ("umbrella", "an"), ("orange bench", "an")],
)
def test_articles_follow_the_sound(word, article):
    assert article_for(word) == article
    assert indefinite(word) == f"{article} {word}"


@pytest.mark.parametrize(
    ("singular", "plural"),
    [("dog", "dogs"), ("wolf", "wolves"), ("man", "men"), ("sheep", "sheep"), ("bus", "buses"), ("mouse", "mice"),
     ("clock tower", "clock towers"), ("berry", "berries")],
)  # fmt: skip
def test_plurals_are_regular_irregular_and_of_compounds(singular, plural):
    assert pluralise(singular) == plural


@pytest.mark.parametrize(
    ("caption", "old", "new", "expected"),
    [
        ("sitting on an orange bench", "orange", "blue", "sitting on a blue bench"),
        ("A corgi runs", "corgi", "otter", "An otter runs"),
        ("Corgi on a sofa", "Corgi", "otter", "Otter on a sofa"),
        ("a big, corgi", "corgi", "otter", "a big, otter"),
        ("vitamin A, corgi", "corgi", "otter", "vitamin A, otter"),
        ("the corgi", "corgi", "otter", "the otter"),
    ],
)
def test_replacing_a_span_corrects_the_article_right_before_it(caption, old, new, expected):
    start = caption.index(old)
    assert replace_span(caption, start, start + len(old), new) == expected


@pytest.mark.parametrize(
    ("caption", "heads"),
    [
        ("two dogs running together on a sandy beach", ["dog", "beach"]),
        ("a silver car parked beside a print shop", ["car", "print shop"]),
        ("a man rides a horse", ["man", "horse"]),
        ("a golden retriever and the oak leaves", ["golden retriever", "leaf"]),
        ("parked cars beside a gray building", ["car", "building"]),
        ("an old man in a park", ["man", "park"]),
        ("a street full of cars", ["street", "car"]),
    ],
)
def test_noun_phrases_end_at_verbs_and_prepositions(wordnet, caption, heads):
    assert [phrase.lemma for phrase in noun_phrases(caption, wordnet)] == heads


def test_a_phrase_has_its_number_and_the_word_before_it(wordnet):
    phrases = noun_phrases("a herd of sheep behind the two red buses in front of a barn", wordnet)
    found = {phrase.lemma: (phrase.is_plural, phrase.previous_word) for phrase in phrases}
    assert found["sheep"] == (True, "of")
    assert found["bus"] == (True, "behind")
    assert found["barn"] == (False, "front")


def test_colours_joined_by_and_are_one_phrase(wordnet):
    (phrase,) = noun_phrases("a red and yellow flower", wordnet)
    assert [word.token.text for word in phrase.modifiers] == ["red", "and", "yellow"]


def test_a_request_and_its_reverse_are_one_template_with_the_sides_swapped():
    bus, train = Named.of("bus", takes_article=True), Named.of("train", takes_article=True)
    assert request(NOUN_TEMPLATES[0], bus, train) == "change the bus to a train"
    assert request(NOUN_TEMPLATES[0], train, bus) == "change the train to a bus"
    red = Named.of("red car", takes_article=True, bare="car", adjective="red")
    blue = Named.of("blue car", takes_article=True, bare="car", adjective="blue")
    assert request(ADJECTIVE_TEMPLATES[0], red, blue) == "make the car blue"
    assert request(ADJECTIVE_TEMPLATES[1], red, blue) == "change the red car to a blue car"


def test_plurals_and_mass_nouns_take_no_article_in_a_request():
    dogs, cats = Named.of("dogs", takes_article=False), Named.of("cats", takes_article=False)
    assert request(NOUN_TEMPLATES[1], dogs, cats) == "replace the dogs with cats"


def test_an_adjective_that_cannot_follow_its_noun_is_named_before_it():
    dark = Named.of("dark green leaves", takes_article=False, adjective="dark")
    assert all("{adjective}" not in template for template in templates_for("change_attribute", dark))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("a caf\u00e9 with a pi\u00f1ata", ["a", "caf\u00e9", "with", "a", "pi\u00f1ata"]),
        ("x\u0302-ray of q\u0323\u0307's hat", ["x\u0302-ray", "of", "q\u0323\u0307's", "hat"]),  # no composed form
        ("\u0915\u093f\u0924\u093e\u092c here", ["\u0915\u093f\u0924\u093e\u092c", "here"]),  # Hindi: vowel signs
        ("\u0301 a \u2764\ufe0f dog\u00ads", ["a", "dog\u00ads"]),
    ],
)
def test_a_word_keeps_its_marks(form, caption, words):
    text = unicodedata.normalize(form, caption)
    tokens = tokenise(text)
    assert [t.text for t in tokens] == [unicodedata.normalize(form, word) for word in words]
    assert all(text[t.start : t.end] == t.text for t in tokens)


def test_an_edit_never_cuts_an_accent_off():
    caption = unicodedata.normalize("NFD", "a caf\u00e9 with a door")
    start, end = next((t.start, t.end) for t in tokenise(caption) if t.text.startswith("caf"))
    assert replace_span(caption, start, end, "bar") == "a bar with a door"
