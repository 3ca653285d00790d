"""The stage: canonical words, who wrote them, equal texts asked once, rows without an instruction."""

import pytest
from _inputs import table

from pipeline.context import Context
from samples.columns import REJECT_REASON
from stages.unify_instruction import UnifyInstruction


class Undertaker:
    """Understands that something has to go, and keeps the prompts."""

    def __init__(self):
        self.prompts = []

    def generate(self, prompts, *, max_new_tokens):
        self.prompts += prompts
        return [" remove the dog\n\nRequest:"[:max_new_tokens] for _ in prompts]


def unify(instructions, writer=None, **settings):
    ctx = Context(stage_name="test", loader=lambda protocol, *_: {"TextGenerator": writer}[protocol])
    rows = UnifyInstruction(**settings).open(ctx)(table(instruction=instructions)).to_pylist()
    return [(row["unified_instruction"], row["instruction_unifier"], row[REJECT_REASON]) for row in rows]


def test_without_a_model_rules_unify():
    found = unify(["Please turn the car RED!", "paint the car red", "zoom in"])
    assert found == [("make the car red", "rule", None), ("make the car red", "rule", None), ("zoom in", "rule", None)]


@pytest.mark.parametrize("instruction", [None, "", "  ", "?!", "\u2728"])
def test_row_without_an_instruction_is_rejected(instruction):
    assert unify([instruction, "zoom in"]) == [(None, None, "no_instruction"), ("zoom in", "rule", None)]


def test_model_writes_what_passes_and_is_asked_once_for_equal_texts():
    model = Undertaker()
    asked = ["The dog has to go", "the dog has to go.", "the cat has to go", None]
    assert unify(asked, model, model="zoo:llm") == [
        ("remove the dog", "model", None), ("remove the dog", "model", None), ("the cat has to go", "rule", None),
        (None, None, "no_instruction"),
    ]  # fmt: skip
    assert [prompt.splitlines()[-2] for prompt in model.prompts] == [
        "Request: the dog has to go",
        "Request: the cat has to go",
    ]


def test_answer_that_is_cut_off_leaves_the_rules():
    assert unify(["The dog has to go"], Undertaker(), model="zoo:llm", max_new_tokens=9) == [
        ("the dog has to go", "rule", None)
    ]
