"""Further captions by a model that answers from a script: rounds, faults, seeds, and what its prompt shows."""

import json
import random
from collections import Counter
from types import SimpleNamespace

import pytest

from models.language.example_sets import ExampleEdit
from stages.language_edits.asking import Asking
from stages.language_edits.further_captions.by_model import ModelPairs
from stages.language_edits.further_captions.pairs import CaptionPair, PairFault, SharedEdit
from stages.language_edits.further_captions.prompt import INTRODUCTION, PAIR_ADVICE, pair_prompt
from stages.language_edits.judged import EditFault, Lengths
from stages.language_edits.schema import EditAnswer

OWN = CaptionPair(
    "a red car on a beach",
    EditAnswer("change_colour", "make the car blue", "car", "a blue car on a beach", "make the car red"),
)
FOREST, STREET = ("a green car in a forest", "green"), ("an old white car on a street", "white")
EXAMPLES = tuple(
    ExampleEdit(
        id=f"e{n}", caption=f"a room {n}", edit_type="add", instruction=f"add chair {n}", object="chair",
        target_caption=f"a room {n} with a chair", reverse_instruction="remove the chair",
    )
    for n in range(6)
)  # fmt: skip


def answer(scene, **other):
    caption, colour = scene
    fields = {
        "caption": caption, "object": "car", "target_caption": caption.replace(f"{colour} car", "blue car"),
        "reverse_instruction": f"make the car {colour}",
    }  # fmt: skip
    return json.dumps({**fields, **other})


class Scripted:
    """Gives the answers in order, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def generate(self, prompts, **how):
        self.calls.append(SimpleNamespace(prompts=list(prompts), **how))
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] for _ in prompts]


def asking(retries=0, repairs=0):
    return Asking(
        max_new_tokens=50, temperature=0.5, lengths=Lengths(), edit_types=("change_colour",), repeats_caption=False,
        max_retries=retries, max_repairs=repairs,
    )  # fmt: skip


def ask(model, *, count=1, wanted=1, examples=(), num_examples=0, retries=0, repairs=0, seed=0):
    """(further captions of each edit, notes)"""
    edits = [SharedEdit(own=OWN, wanted=wanted, rng=random.Random(seed + n)) for n in range(count)]
    notes = Counter()
    ModelPairs(model, asking(retries, repairs), examples, num_examples).find(edits, notes)
    return [[pair.caption for pair in edit.further] for edit in edits], dict(notes)


def test_pair_that_passes_has_the_instruction_of_the_edit():
    edit, model = SharedEdit(own=OWN, wanted=1, rng=random.Random(0)), Scripted(answer(FOREST))
    ModelPairs(model, asking(), (), 0).find([edit], Counter())
    assert edit.further == [
        CaptionPair(
            "a green car in a forest",
            EditAnswer("change_colour", "make the car blue", "car", "a blue car in a forest", "make the car green"),
        )
    ]
    (call,) = model.calls
    assert (call.max_new_tokens, call.temperature) == (50, 0.5)
    assert call.json_schema["required"] == ["caption", "object", "target_caption", "reverse_instruction"]


def test_next_pair_is_asked_for_after_the_one_before_and_sees_it():
    model = Scripted(answer(FOREST), answer(STREET))
    assert ask(model, wanted=2) == ([[FOREST[0], STREET[0]]], {"further pairs asked": 2, "further pairs kept": 2})
    first, second = (call.prompts[0] for call in model.calls)
    assert FOREST[0] not in first
    assert second.startswith(first)
    assert answer(FOREST) in second
    assert second.endswith("Request: make the car blue\nEdit type: change_colour\nPhotograph as JSON: ")


def test_all_edits_of_a_batch_are_one_call_a_round():
    scenes = [answer((f"a green car in forest {n}", "green")) for n in range(6)]
    found, _ = ask(model := Scripted(*scenes), count=3, wanted=2)
    assert [len(call.prompts) for call in model.calls] == [3, 3]
    assert found == [[f"a green car in forest {n}", f"a green car in forest {n + 3}"] for n in range(3)]
    assert len({seed for call in model.calls for seed in call.seeds}) == 6


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no", "unparsable"),
        (answer(FOREST, object=" "), "unparsable"),
        (answer(("the red car on the beach", "red")), "same_caption"),
        (answer(("a green bus in a forest", "green")), "absent_thing"),
        (answer(FOREST, reverse_instruction="make the car red"), "reverse_does_not_undo"),
    ],
)
def test_faulty_pair_is_asked_for_again_and_then_given_up(text, fault):
    model = Scripted(text, text, answer(FOREST))
    found, notes = ask(model, retries=2)
    assert found == [[FOREST[0]]]
    assert (notes["further pairs asked"], notes[f"further pairs asked: {fault}"]) == (3, 2)
    assert len({call.prompts[0] for call in model.calls}) == 1
    assert len({call.seeds[0] for call in model.calls}) == 3
    assert ask(Scripted(text), retries=2)[0] == [[]]


def test_pair_that_is_given_up_leaves_the_next_ones_their_retries():
    model = Scripted("no", "no", "no", answer(FOREST), "no", "no")
    found, notes = ask(model, wanted=3, retries=1)
    assert found == [[FOREST[0]]]
    assert notes == {"further pairs asked": 6, "further pairs kept": 1, "further pairs asked: unparsable": 5}


def test_faulty_pair_is_repaired_with_its_faults_in_words():
    wrong = answer(FOREST, reverse_instruction="make the car red")
    model = Scripted(wrong, answer(FOREST))
    assert ask(model, repairs=1)[0] == [[FOREST[0]]]
    first, second = (call.prompts[0] for call in model.calls)
    assert second.startswith(first + wrong)
    assert PAIR_ADVICE[EditFault.REVERSE_DOES_NOT_UNDO] in second
    assert second.endswith(first.rpartition("\n\n")[2])


def test_pair_is_asked_for_anew_once_its_repairs_are_spent():
    wrong = answer(FOREST, reverse_instruction="make the car red")
    model = Scripted(wrong, wrong, answer(FOREST))
    assert ask(model, repairs=1, retries=1)[0] == [[FOREST[0]]]
    first, second, third = (call.prompts[0] for call in model.calls)
    assert first == third != second


def test_every_fault_of_a_pair_that_parses_has_words_for_the_model():
    never = {EditFault.NO_CAPTION, EditFault.UNPARSABLE}  # no answer to repair
    assert set(PAIR_ADVICE) == {*EditFault, *PairFault} - never


def test_prompt_shows_the_drawn_examples_before_the_own_pair():
    model = Scripted(answer(FOREST))
    ask(model, examples=EXAMPLES, num_examples=2)
    prompt = model.calls[0].prompts[0]
    assert prompt.startswith(INTRODUCTION)
    assert prompt.count("Request: add chair ") == 2
    assert prompt.rindex("Request: add chair ") < prompt.index("Request: make the car blue")
    assert pair_prompt((OWN,), ()).count("Request: ") == 2


def test_scene_of_a_shown_example_is_not_taken():
    own = CaptionPair("a house", EditAnswer("add", "add a chair", "chair", "a house with a chair", "remove the chair"))
    edit, notes = SharedEdit(own=own, wanted=1, rng=random.Random(0)), Counter()
    copied = {
        "caption": "the room 3", "object": "chair", "target_caption": "the room 3 beside a chair",
        "reverse_instruction": "remove the chair",
    }  # fmt: skip
    ModelPairs(Scripted(json.dumps(copied)), asking(), EXAMPLES, 6).find([edit], notes)
    assert notes == {"further pairs asked": 1, "further pairs asked: copied_example": 1}


def test_pairs_of_an_edit_depend_on_no_other_edit():
    class BySeed:
        """Answers by the seed alone."""

        def generate(self, prompts, *, seeds, **_):
            colours = ["green", "white", "black", "yellow"]
            return [answer((f"a {colours[seed % 4]} car at door {seed % 97}", colours[seed % 4])) for seed in seeds]

    together, _ = ask(BySeed(), count=4, wanted=3, retries=2)
    assert [ask(BySeed(), wanted=3, retries=2, seed=n)[0][0] for n in range(4)] == together
    assert all(len(found) == 3 for found in together)
