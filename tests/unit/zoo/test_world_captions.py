"""Captions of the miniature world, and the reader that finds a scene's facts in a text."""

import random

import pytest

from models.language.wordnet import WordNet
from zoo.world import (
    FAMILIES,
    NOUNS,
    Facts,
    Scene,
    Thing,
    alt_text,
    caption,
    facts_of,
    read_facts,
    scene_of,
    varied_caption,
)

SCENES = [scene_of(21, index) for index in range(1000)]
MAX_STEPS = 2
NUM_SENSES = 4


def one_thing(**changes):
    here = {"size": "small", "size_frac": 0.4, "x_frac": 0.5, "bottom_frac": 0.9}
    return Thing(**{"noun": "car", "colour": "red", **here, **changes})


def test_a_canonical_caption_reads_back_to_the_facts_of_its_scene():
    assert [read_facts(caption(scene)) for scene in SCENES] == [facts_of(scene) for scene in SCENES]


def test_varied_captions_read_back_to_the_facts_of_their_scene():
    for seed in range(3):
        read = [read_facts(varied_caption(scene, random.Random(f"{seed}/{n}"))) for n, scene in enumerate(SCENES)]
        assert read == [facts_of(scene) for scene in SCENES]


def test_varied_captions_vary_and_the_same_seed_repeats_them():
    wordings = {varied_caption(SCENES[0], random.Random(seed)) for seed in range(40)}
    assert len(wordings) > 8
    assert varied_caption(SCENES[0], random.Random(5)) == varied_caption(SCENES[0], random.Random(5))


def test_alt_text_is_noisy():
    """Of 20,000, 16 % name all facts, and 66 % no thing's colour, half of these no place either."""
    texts = [alt_text(scene, random.Random(n)) for n, scene in enumerate(SCENES)]
    read = [read_facts(text) for text in texts]
    complete = sum(facts == facts_of(scene) for facts, scene in zip(read, SCENES, strict=True))
    silent = sum(not facts.things for facts in read)
    assert 0.10 < complete / len(SCENES) < 0.22
    assert 0.60 < silent / len(SCENES) < 0.72


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (Scene((one_thing(),), "beach"), "a red car on a beach"),
        (Scene((one_thing(x_frac=0.3),), "moon", "night"), "a red car on the left on the moon at night"),
        (
            Scene((one_thing(noun="apple", colour="orange", x_frac=0.2), one_thing(x_frac=0.7)), "desert", "sepia"),
            "an orange apple and a red car in the desert in sepia",
        ),
    ],
)
def test_a_caption_names_things_then_aside_then_place_then_style(scene, expected):
    assert caption(scene) == expected


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A RED CAR and a blue dog in a meadow", Facts((("blue", "dog"), ("red", "car")), "meadow", None)),
        ("an orange orange on the moon at night", Facts((), "moon", "night")),
        ("a redcar", Facts((), None, None)),
        ("a red and blue car", Facts((("blue", "car"),), None, None)),
        ("", Facts((), None, None)),
    ],
)
def test_facts_are_whole_words_in_any_case(text, facts):
    assert read_facts(text) == facts


def steps_to_shared_hypernym(wordnet, one, other):
    """The fewest steps that both nouns need up to one hypernym, in their first senses, or None without one."""
    found = [
        max(above[shared], others[shared])
        for above in map(wordnet.ancestors, wordnet.synsets(one, "n")[:NUM_SENSES])
        for others in map(wordnet.ancestors, wordnet.synsets(other, "n")[:NUM_SENSES])
        for shared in above.keys() & others.keys()
        if above[shared] > 0 and others[shared] > 0
    ]
    return min(found, default=None)


@pytest.fixture(scope="module")
def wordnet():
    return WordNet()


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_a_cohyponym_of_its_family_in_wordnet(wordnet, noun):
    family = next(nouns for nouns in FAMILIES.values() if noun in nouns)
    steps = {other: steps_to_shared_hypernym(wordnet, noun, other) for other in family if other != noun}
    assert any(found is not None and found <= MAX_STEPS for found in steps.values()), steps


def test_a_noun_of_another_family_can_be_too_far_to_be_a_cohyponym(wordnet):
    assert (steps_to_shared_hypernym(wordnet, "car", "cherry") or 99) > MAX_STEPS
