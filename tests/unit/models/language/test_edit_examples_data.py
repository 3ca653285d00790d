import json
from collections import Counter

import pytest

from models.language.example_sets import BUNDLED
from stages.language_edits.checks import faults_of
from stages.language_edits.judged import Judged
from stages.language_edits.schema import parse_answer

PHOTOGRAPHS = BUNDLED / "photographs.jsonl"
FIELDS = ["id", "caption", "edit_type", "instruction", "object", "target_caption", "reverse_instruction"]
TYPES = {
    "add",
    "remove",
    "replace",
    "change_colour",
    "transform_local",
    "transform_global",
    "change_background",
    "change_style",
    "turn",
}
WHOLE_IMAGE = {"transform_global": "picture", "change_style": "picture", "change_background": "background"}


@pytest.fixture(scope="module")
def examples():
    return [json.loads(line) for line in PHOTOGRAPHS.read_text("utf-8").splitlines()]


def test_every_example_has_all_fields_and_none_is_blank(examples):
    for example in examples:
        assert list(example) == FIELDS
        assert all(isinstance(value, str) and value == value.strip() and value for value in example.values()), example


def test_nine_types_have_at_least_24_examples_each(examples):
    counts = Counter(example["edit_type"] for example in examples)
    assert set(counts) == TYPES
    assert min(counts.values()) >= 24
    assert sum(counts.values()) >= 220


@pytest.mark.parametrize("field", ["id", "caption", "instruction", "target_caption", "reverse_instruction"])
def test_no_two_examples_share_a_text(examples, field):
    counts = Counter(example[field].lower().rstrip(".?") for example in examples)
    assert [text for text, count in counts.items() if count > 1] == []


def test_captions_have_five_to_25_words(examples):
    assert [e["id"] for e in examples if not 5 <= len(e["caption"].split()) <= 25] == []


def test_whole_image_edits_name_the_whole_image(examples):
    assert [e["id"] for e in examples if e["object"] != WHOLE_IMAGE.get(e["edit_type"], e["object"])] == []
    assert {e["object"] for e in examples if e["edit_type"] not in WHOLE_IMAGE}.isdisjoint({"picture", "background"})


def test_a_thing_to_add_is_new_and_any_other_is_in_the_caption(examples):
    for example in examples:
        if example["edit_type"] not in WHOLE_IMAGE:
            is_there = example["object"].lower() in example["caption"].lower()
            assert is_there == (example["edit_type"] != "add"), example


def test_every_example_passes_the_checks_of_answers(examples):
    faults = {}
    for example in examples:
        answer = parse_answer(json.dumps(example))
        judged = Judged(caption=example["caption"], edit_type=example["edit_type"], answer=answer)
        faults[example["id"]] = [fault.value for fault in faults_of(judged)]
    assert {name: found for name, found in faults.items() if found} == {}
