"""The hash of a request's inputs: it changes with what the editor is given, and with nothing else."""

from dataclasses import replace

import pytest

from evaluation.benchmark import EditCase
from evaluation.editors import EditorChoice
from evaluation.requests import inputs_hash

CASE = EditCase(
    key="a", source=b"source", instruction="make it red", target_caption="a red car", examples=((b"before", b"after"),)
)


def choice(*uses):
    return EditorChoice(
        name="mine",
        needs=frozenset({"instruction"}),
        uses=frozenset(uses),
        description={},
        load=lambda _placement: None,
    )


def hashed(case, *uses):
    return inputs_hash(case, "0" * 64, choice(*uses))


@pytest.mark.parametrize(
    "examples", [(), ((b"before", b"other"),), ((b"after", b"before"),), CASE.examples * 2], ids=str
)
def test_hash_changes_with_the_examples_an_editor_uses(examples):
    other = replace(CASE, examples=examples)
    assert hashed(other, "examples") != hashed(CASE, "examples")
    assert hashed(other) == hashed(CASE)


def test_hash_of_a_case_without_examples_is_that_without_their_use():
    bare = replace(CASE, examples=())
    assert hashed(bare, "examples") == hashed(bare) == hashed(CASE)


def test_hash_changes_with_the_texts_an_editor_is_given():
    other = replace(CASE, target_caption="a blue car")
    assert hashed(other) == hashed(CASE)
    assert hashed(other, "target_caption") != hashed(CASE, "target_caption")
    assert hashed(replace(CASE, instruction="make it blue")) != hashed(CASE)
