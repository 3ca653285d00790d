"""The question to the model, its answers, and the rule."""

import json
import random
from collections import Counter

import pytest

from stages.regions.choosing import (
    ANSWERS,
    BY_RULE,
    MALFORMED,
    Asking,
    Edit,
    answer_schema,
    ask_for_objects,
    objects_by_rule,
    parse_answer,
    prompt_for,
)

EDIT = Edit(
    instruction="make the {bus} red", source_caption="a blue bus", target_caption="a red bus", tags=("bus", "road"),
    source_phrase="blue bus", edit_type="change_colour",
)  # fmt: skip
OTHER = Edit(instruction="x", source_caption="", target_caption="", tags=(), source_phrase="", edit_type="")
ASKING = Asking(max_objects=2, max_retries=2, max_new_tokens=32, retry_temperature=0.5)


def answer(*names):
    return json.dumps({"objects": names})


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        (answer("bus"), ["bus"]),
        (answer(" red  car ", "dog"), ["red car", "dog"]),
        (answer("Dog", "cat", "dog"), ["Dog", "cat"]),
        (answer("NONE"), []),
        (answer("none"), []),
        (answer(), []),
        (answer("NONE", "dog"), None),
        (answer("a", "b", "c"), None),
        (answer(""), None),
        (answer("x" * 61), None),
        (answer("\ud83d"), None),
        (answer("a\x00b"), None),
        ('```json\n{"objects": ["dog"]}\n```', ["dog"]),
        ('{"objects": "dog"}', None),
        ('{"objects": [1]}', None),
        ('{"things": ["dog"]}', None),
        ('["dog"]', None),
        ('{"objects": ["dog"', None),
        ("dog", None),
        ("[" * 100_000, None),
    ],
)
def test_an_answer_names_things_or_nothing_or_is_malformed(text, objects):
    assert parse_answer(text, 2) == objects


def test_the_question_has_every_field_of_the_edit():
    prompt = prompt_for(EDIT, 2)
    assert (
        "Instruction: make the {bus} red\nCaption before the edit: a blue bus\nCaption after the edit: a red bus"
        in prompt
    )
    assert "Things found on the image: bus, road\n" in prompt
    assert "at most 2" in prompt
    assert '{"objects": ["NONE"]}' in prompt
    assert "Things found on the image: none\n" in prompt_for(OTHER, 2)


def test_the_schema_admits_what_is_read_and_no_third_thing():
    jsonschema = pytest.importorskip("jsonschema")
    schema = answer_schema(2)
    jsonschema.validate(json.loads(answer("a", "b")), schema)
    for wrong in (answer("a", "b", "c"), '{"objects": [1]}', "{}", '{"objects": [], "more": 1}'):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(wrong), schema)


class Stubborn:
    """Answers what is next in the list of each prompt. It keeps how it was asked."""

    def __init__(self, *answers):
        self.answers, self.calls = [list(of_prompt) for of_prompt in answers], []
        self.prompts = None

    def generate(self, prompts, *, max_new_tokens, json_schema, temperature, seeds):
        self.prompts = self.prompts or list(prompts)
        self.calls.append((len(prompts), max_new_tokens, temperature, seeds))
        return [self.answers[self.prompts.index(prompt)].pop(0) for prompt in prompts]


def asked(model, edits):
    notes = Counter()
    found = ask_for_objects(model, edits, [random.Random(n) for n in range(len(edits))], ASKING, notes)
    return found, notes


def test_only_malformed_answers_are_asked_for_again_by_seeds_of_rows():
    model = Stubborn([answer("bus")], ["no", answer("dog")])
    found, notes = asked(model, [EDIT, OTHER])
    assert found == [["bus"], ["dog"]]
    assert model.calls == [(2, 32, 0.0, None), (1, 32, 0.5, [random.Random(1).getrandbits(32)])]
    assert notes == Counter({ANSWERS: 3, MALFORMED: 1, BY_RULE: 0})


def test_a_model_that_never_answers_is_given_up():
    model = Stubborn(["no"] * 3)
    found, notes = asked(model, [EDIT])
    assert found == [None]
    assert len(model.calls) == 3
    assert (notes[ANSWERS], notes[MALFORMED], notes[BY_RULE]) == (3, 3, 1)


def test_without_rows_nothing_is_asked():
    model = Stubborn()
    assert asked(model, [])[0] == []
    assert model.calls == []


@pytest.mark.parametrize(
    ("phrase", "edit_type", "objects"),
    [
        ("blue bus", "change_colour", ["blue bus"]),
        ("blue bus", "", ["blue bus"]),
        ("blue bus", "add", []),
        ("meadow", "change_background", []),
        (" ", "remove", []),
    ],
)
def test_the_rule_is_the_source_phrase_of_an_edit_with_a_place(phrase, edit_type, objects):
    edit = Edit(
        instruction="", source_caption="", target_caption="", tags=(), source_phrase=phrase, edit_type=edit_type
    )
    assert objects_by_rule(edit, ("add", "change_background")) == objects
