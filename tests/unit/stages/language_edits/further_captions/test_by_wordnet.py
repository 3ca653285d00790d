"""Further captions by rule: how many, of which words, and the same whatever shares the batch."""

import random
from collections import Counter

import pytest

from models.language.wordnet import WordNet
from stages.language_edits.further_captions.by_wordnet import MOST_TRIES, WordnetPairs
from stages.language_edits.further_captions.pairs import CaptionPair, SharedEdit
from stages.language_edits.judged import Lengths
from stages.language_edits.schema import EditAnswer
from stages.language_edits.words import content, words
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.sisters import Sisters


@pytest.fixture(scope="module")
def finder():
    return EditFinder(Sisters(wordnet=WordNet()), 6)


def colour(caption="a red car on a beach", thing="car", old="red", new="blue"):
    answer = EditAnswer(
        "change_colour", f"make the {thing} {new}", thing, caption.replace(old, new), f"make the {thing} {old}"
    )
    return CaptionPair(caption, answer)


def found(pairs, *owns, wanted=4):
    """(further pairs of each, notes)"""
    edits = [SharedEdit(own=own, wanted=wanted, rng=random.Random(own.caption)) for own in owns]
    notes = Counter()
    pairs.find(edits, notes)
    return [edit.further for edit in edits], dict(notes)


def test_as_many_pairs_as_are_wanted_share_the_instruction(finder):
    (further,), notes = found(WordnetPairs(finder, Lengths()), colour(), wanted=6)
    assert len(further) == notes["further pairs kept"] == 6
    assert {pair.answer.instruction for pair in further} == {"make the car blue"}
    assert len({pair.caption for pair in further} | {colour().caption}) == 7
    for pair in further:
        old = content(pair.answer.reverse_instruction)[-1]
        assert old in content(pair.caption)
        assert old not in content(pair.answer.target_caption)
        assert words(pair.answer.target_caption)[:3] == ("a", "blue", "car")


def test_one_to_three_words_change_at_once(finder):
    own = colour("a red car and a white truck on a beach")
    (further,), _ = found(WordnetPairs(finder, Lengths()), own, wanted=30)
    changed = Counter(len({*content(own.caption)} - {*content(pair.caption)}) for pair in further)
    assert sorted(changed) == [1, 2, 3]
    assert min(changed.values()) >= 3


def test_no_word_changes_twice(finder):
    own = CaptionPair(
        "a bear near zzyzx",
        EditAnswer("transform_global", "make it night", "picture", "a bear near zzyzx at night", "undo the night"),
    )
    (further,), _ = found(WordnetPairs(finder, Lengths()), own, wanted=9)
    assert sorted(words(pair.caption)[1] for pair in further) == sorted(finder.sisters.replacements("bear"))


def test_words_are_those_of_the_captions_where_they_are_bounded(finder):
    counts = dict.fromkeys(words("a an on in the red blue green orange car beach street forest"), 9) | {"bus": 4}
    bounded = EditFinder(Sisters(wordnet=finder.wordnet, vocabulary="corpus", corpus=counts), 6)
    (further,), _ = found(WordnetPairs(bounded, Lengths(), counts, 5), colour(), wanted=50)
    used = {word for pair in further for text in (pair.caption, pair.answer.target_caption) for word in words(text)}
    assert used <= {word for word, count in counts.items() if count >= 5}
    assert len(further) == 3 * 3 - 1  # red, green or orange; beach, street or forest; the own one is no further one


def test_caption_without_a_word_to_change_gives_none(finder):
    own = colour("a red zzyzx", thing="zzyzx")
    assert found(WordnetPairs(finder, Lengths()), own) == ([[]], {})


def test_tries_are_bounded_where_few_words_can_change(finder):
    own = colour("a red bear", thing="bear", new="black")
    ((*further,),), notes = found(WordnetPairs(finder, Lengths()), own, wanted=9)
    assert sorted(pair.caption for pair in further) == ["a brown bear", "a gray bear", "a white bear"]
    assert notes["further pairs asked"] == 9 * MOST_TRIES
    assert notes["further pairs asked: same_caption"] == 9 * MOST_TRIES - 3


def test_fruit_named_as_a_colour_is_not_put_in(finder):
    own = CaptionPair(
        "a green apple in a bowl",
        EditAnswer(
            "transform_global", "make it night", "picture", "a green apple in a bowl at night", "undo the night"
        ),
    )
    assert "orange" in finder.sisters.replacements("apple")
    (further,), _ = found(WordnetPairs(finder, Lengths()), own, wanted=40)
    nouns = {words(pair.caption)[2] for pair in further}
    assert "pear" in nouns
    assert "orange" not in nouns


def test_pair_that_fails_a_check_is_left_out(finder):
    own = CaptionPair(
        "a house on a beach",
        EditAnswer("transform_global", "make it night", "picture", "a house on a beach at night", "undo the night"),
    )
    (further,), notes = found(WordnetPairs(finder, Lengths(max_caption=7)), own, wanted=40)
    assert notes["further pairs asked: wrong_length"] > 0  # an apartment building on a beach at night
    assert further
    assert all(len(words(pair.answer.target_caption)) <= 7 for pair in further)


def test_pairs_of_an_edit_are_the_same_whatever_shares_the_batch(finder):
    owns = [colour(), colour("a red bus in a park", "bus"), colour("a red bench near a lake", "bench")]
    pairs = WordnetPairs(finder, Lengths())
    together, _ = found(pairs, *owns)
    assert [found(pairs, own)[0][0] for own in owns] == together
    assert found(WordnetPairs(finder, Lengths()), *reversed(owns))[0] == together[::-1]
