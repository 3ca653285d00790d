"""Further captions of edits of the miniature world by WordNet: the world's judge reads every pair."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from models.language.wordnet import WordNet
from stages.language_edits.further_captions.by_wordnet import WordnetPairs
from stages.language_edits.further_captions.pairs import CaptionPair, SharedEdit
from stages.language_edits.judged import Lengths
from stages.language_edits.schema import FIELDS, EditAnswer
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.grammar import tokenise
from stages.wordnet_edits.sisters import Sisters
from zoo.train_llm import answer_to
from zoo.world import KINDS, caption, possible_kinds, read_facts, sample_edit, scene_of
from zoo.world.judge import fault_of

NUM_EDITS = 140
SEED = 7


def world_edits():
    """Edits of all kinds in turn, each of the next scene that can take it."""
    edits, index = [], 0
    while len(edits) < NUM_EDITS:
        scene, kind = scene_of(SEED, index), KINDS[len(edits) % len(KINDS)]
        if kind in possible_kinds(scene):
            edit = sample_edit(scene, random.Random(index), kind)
            own = CaptionPair(caption(scene), EditAnswer(**answer_to(edit, caption(scene))))
            edits.append(SharedEdit(own=own, wanted=4, rng=random.Random(index)))
        index += 1
    return edits


@pytest.fixture(scope="module")
def edits():
    counts = Counter(token.lower for index in range(500) for token in tokenise(caption(scene_of(5, index))))
    finder = EditFinder(Sisters(wordnet=WordNet(), vocabulary="corpus", corpus=counts), 6)
    made = world_edits()
    WordnetPairs(finder, Lengths(), counts, 5).find(made, Counter())
    return made


def fault(pair):
    return fault_of(pair.caption, {field: getattr(pair.answer, field) for field in FIELDS})


def test_further_pairs_are_right_edits(edits):
    wrong = [(pair, fault(pair)) for edit in edits for pair in edit.further if fault(pair)]
    assert wrong == []
    assert [edit.own for edit in edits if fault(edit.own)] == []


def test_further_scenes_have_as_many_known_things(edits):
    for edit in edits:
        for pair in edit.further:
            assert len(read_facts(pair.caption).things) == len(read_facts(edit.own.caption).things)


def test_most_edits_get_at_least_two_further_pairs(edits):
    assert sum(len(edit.further) >= 2 for edit in edits) >= 0.8 * len(edits)


def test_judge_sees_a_reverse_instruction_of_another_scene(edits):
    """The first check can fail: no reverse instruction was changed that could have stayed."""
    faults = [
        fault(replace(pair, answer=replace(pair.answer, reverse_instruction=edit.own.answer.reverse_instruction)))
        for edit in edits
        for pair in edit.further
        if pair.answer.reverse_instruction != edit.own.answer.reverse_instruction
    ]
    assert len(faults) >= 20
    assert set(faults) == {"reverse_instruction"}
