"""Rules over the wordings of the miniature world, whose edits are known: agreement, and no wrong merge."""

import random
from collections import defaultdict

import pytest

from models.language.unification.rules import unify_by_rule
from zoo.world import COLOURS, KINDS, NOUNS, PLACES, STYLES, possible_kinds, scene_of
from zoo.world.edits import _MAKE

POSITIONS = {"left", "right", "centre"}
NAMES = {*NOUNS, *COLOURS, *PLACES, *STYLES, *POSITIONS}
NUM_SCENES = 150


@pytest.fixture(scope="module")
def edits():
    """(kind, wordings) of several hundred edits: each kind that a scene takes, and its reverse where it has one."""
    found = []
    for number in range(NUM_SCENES):
        scene = scene_of(17, number)
        for kind in possible_kinds(scene):
            *_, wordings, reverse = _MAKE[kind](scene, random.Random(number))
            undone = {"add": "remove", "remove": "add"}.get(kind, kind)
            found += [(kind, wordings), (undone, reverse)]
    return found


def meaning(kind, wording):
    """What a wording says: the kind of edit, and the things, colours, places and styles that it names, in order."""
    return kind, tuple(word for word in wording.split() if word in NAMES)


def test_there_are_edits_of_every_kind(edits):
    assert {kind for kind, _ in edits} == set(KINDS)
    assert len(edits) > 900


def test_all_wordings_of_an_edit_that_say_the_same_agree(edits):
    texts = defaultdict(set)
    for kind, wordings in edits:
        for wording in wordings:
            texts[meaning(kind, wording)].add(unify_by_rule(wording))
    assert {said: found for said, found in texts.items() if len(found) > 1} == {}


def test_no_two_edits_of_different_meaning_share_a_text(edits):
    meanings = defaultdict(set)
    for kind, wordings in edits:
        for wording in wordings:
            meanings[unify_by_rule(wording)].add(meaning(kind, wording))
    assert {text: said for text, said in meanings.items() if len(said) > 1} == {}


def test_an_edit_has_one_text_or_two_where_wordings_say_more_or_less(edits):
    """An addition with and without its place, a removal with and without the colour."""
    for kind, wordings in edits:
        assert len({unify_by_rule(wording) for wording in wordings}) == (2 if kind in {"add", "remove"} else 1)


def test_without_rules_the_wordings_differ(edits):
    agree = [len({wording.lower() for wording in wordings}) == 1 for _, wordings in edits]
    assert not any(agree)


def test_canonical_texts_of_the_world_stay_as_they_are(edits):
    for text in {unify_by_rule(wording) for _, wordings in edits for wording in wordings}:
        assert unify_by_rule(text) == text
