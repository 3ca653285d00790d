"""The unifier: rules alone, a model's answers where they pass, each text asked once."""

import pytest

from models.language.unification.prompts import SHOTS, unification_prompt
from models.language.unification.rules import LONGEST
from models.language.unification.unifier import Unified, Unifier

ANSWERS = {
    "the dog has to go": " Delete the dog\n\nRequest: a cat\nInstruction: add a cat",
    "a truck would be better instead of the car": "\nInstruction: Please change the car into a truck.",
    "get the cat out of here": "remove the dog",
}


class Scripted:
    """Continues each prompt by its request; of another one it repeats the first example."""

    def __init__(self):
        self.calls = []

    def generate(self, prompts, *, max_new_tokens, temperature=0.0, **settings):
        requests = [prompt.rpartition("Request: ")[2].removesuffix("\nInstruction:") for prompt in prompts]
        self.calls.append((requests, max_new_tokens, temperature, settings))
        return [ANSWERS.get(request, f" {SHOTS[0][1]}") for request in requests]


def test_without_a_model_rules_write_all():
    found = Unifier().unify(["Delete the dog!", "zoom in, please", "..."])
    assert found == [Unified("remove the dog", "rule"), Unified("zoom in", "rule"), Unified("", "rule")]


def test_answer_that_passes_is_used_in_canonical_words():
    found = Unifier(Scripted()).unify(["The dog has to go.", "A truck would be better instead of the car"])
    assert found == [Unified("remove the dog", "model"), Unified("replace the car with a truck", "model")]


def test_answer_that_fails_leaves_the_text_of_the_rules():
    found = Unifier(Scripted()).unify(["Get the cat out of here!", "turn the bus red"])
    assert found == [Unified("get the cat out of here", "rule"), Unified("make the bus red", "rule")]


def test_equal_texts_are_asked_once_and_never_again():
    model = Scripted()
    unifier = Unifier(model, max_new_tokens=7)
    unifier.unify(["the dog has to go", "the dog has to go!", "delete the dog", "remove the dog"])
    unifier.unify(["Please, the dog has to go", "zoom in"])
    unifier.unify(["zoom in"])
    assert model.calls == [
        (["the dog has to go", "remove the dog"], 7, 0.0, {}),
        (["zoom in"], 7, 0.0, {}),
    ]


def test_result_of_a_text_does_not_depend_on_the_others():
    texts = [*ANSWERS, "turn the bus red", "take the bus away", "zoom in"]
    together = Unifier(Scripted()).unify(texts)
    unifier = Unifier(Scripted())
    assert [unifier.unify([text])[0] for text in reversed(texts)] == together[::-1]


def test_model_never_parts_what_the_rules_have_merged():
    wordings = ["turn the bus red", "paint the bus red", "The bus should be red", "change the bus's color to red"]
    assert len(set(Unifier(Scripted()).unify(wordings))) == 1


def test_nothing_empty_and_nothing_very_long_is_asked():
    model = Scripted()
    long = "make it red " * LONGEST
    assert Unifier(model).unify(["", "?!", long]) == [Unified(t, "rule") for t in ("", "", long.strip())]
    assert model.calls == []


def test_failed_call_leaves_nothing_behind():
    class Failing(Scripted):
        def generate(self, prompts, **settings):
            if not self.calls:
                self.calls.append(prompts)
                raise MemoryError
            return super().generate(prompts, **settings)

    unifier = Unifier(Failing())
    with pytest.raises(MemoryError):
        unifier.unify(["the dog has to go"])
    assert unifier.unify(["the dog has to go"]) == [Unified("remove the dog", "model")]


def test_prompt_shows_every_example_and_ends_where_the_answer_begins():
    lines = unification_prompt("make it red").splitlines()
    assert lines[-2:] == ["Request: make it red", "Instruction:"]
    assert [line for line in lines if line.startswith("Instruction: ")] == [f"Instruction: {text}" for _, text in SHOTS]
    assert len(SHOTS) == 4
