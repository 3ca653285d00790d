import json
import re

import pytest
from _stage_inputs import rows
from pydantic import ValidationError

from pipeline.context import Context
from pipeline.plan.plugins import load_model
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.write_turns import WriteTurns

BUS = "a red bus near a house"
CHAIN = {"bus": "train", "train": "boat", "boat": "plane"}
SETTINGS = {"model": "zoo:llm", "shares": {"replace": 1.0}}


class Replaces:
    """A TextGenerator that replaces the vehicle of a caption by the next one in `chain`."""

    def __init__(self, chain):
        self.chain, self.asked = chain, []

    def generate(self, prompts, **_):
        self.asked += prompts
        return [self._answer(prompt.rpartition("Caption: ")[2].partition("\n")[0]) for prompt in prompts]

    def _answer(self, caption):
        old = next((word for word in re.findall(r"\w+", caption) if word in self.chain), None)
        if old is None:
            return "I do not know."
        new = self.chain[old]
        return json.dumps({
            "edit_type": "replace", "instruction": f"replace the {old} with a {new}", "object": old,
            "target_caption": caption.replace(old, new), "reverse_instruction": f"replace the {new} with a {old}",
        })  # fmt: skip


def run(table, chain=CHAIN, **settings):
    """(rows, notes) of the stage over the table."""
    model = Replaces(chain)

    def loader(protocol, model_id, **_):
        return model if protocol == "TextGenerator" else load_model(protocol, model_id)

    context = Context(stage_name="write_turns", loader=loader)
    return WriteTurns(**{**SETTINGS, **settings}).open(context)(table).to_pylist(), context.notes


def targets(row):
    return [turn["target_caption"] for turn in row["further_turns"]]


def test_each_turn_edits_the_caption_that_the_last_one_left():
    ((row,), notes) = run(rows(target_caption=[BUS]), num_turns=4)
    assert targets(row) == [BUS.replace("bus", word) for word in ("train", "boat", "plane")]
    first = row["further_turns"][0]
    assert first["instruction"] == "replace the bus with a train"
    assert first["reverse_instruction"] == "replace the train with a bus"
    assert (first["source_phrase"], first["target_phrase"], first["edit_type"]) == ("bus", "train", "replace")
    assert first["edit_writer"] == "model"
    assert notes["sessions: 4 turns"] == 1


def test_number_of_turns_counts_the_first_edit():
    ((row,), _) = run(rows(target_caption=[BUS]), num_turns=2)
    assert len(row["further_turns"]) == 1


def test_session_ends_where_no_answer_passes():
    found, notes = run(rows(target_caption=[BUS, "a boat near a house"]), num_turns=4)
    assert [len(row["further_turns"]) for row in found] == [3, 1]
    assert (notes["sessions: 4 turns"], notes["sessions: 2 turns"]) == (1, 1)


@pytest.mark.parametrize("source", [None, "A red boat near a house."])
def test_turn_does_not_lead_back_to_an_earlier_caption(source):
    chain = {"bus": "train", "train": "boat" if source else "bus"}
    ((row,), _) = run(rows(source_caption=[source], target_caption=[BUS]), chain)
    assert targets(row) == [BUS.replace("bus", "train")]


def test_model_is_asked_again_where_it_steps_back():
    model = Replaces({"bus": "train", "train": "bus"})
    context = Context(stage_name="write_turns", loader=lambda *_, **__: model)
    WriteTurns(**SETTINGS, max_retries=2).open(context)(rows(target_caption=[BUS]))
    assert context.notes["edit answers: duplicate_edit"] == 3
    assert len(model.asked) == 1 + 3


def test_row_without_caption_and_row_without_edit_are_rejected():
    found, _ = run(rows(target_caption=[None, " ", "a tree", BUS]))
    assert [row[REJECT_REASON] for row in found] == ["no_caption", "no_caption", "no_further_edit", None]
    assert found[2][REJECT_DETAIL] == "a tree"


def test_wordnet_writes_without_a_model():
    settings = {"model": None, "shares": {}, "lexicon": "wordnet:3.0"}
    found, _ = run(rows(target_caption=["a red bus near a house", "of the", "a dog on a sofa"]), **settings)
    assert found[1][REJECT_REASON] == "no_further_edit"
    for row in (found[0], found[2]):
        assert len({row["target_caption"], *targets(row)}) == 3
        assert {turn["edit_writer"] for turn in row["further_turns"]} == {"wordnet"}
        assert all(turn["instruction"] and turn["reverse_instruction"] for turn in row["further_turns"])


def test_wordnet_writes_where_no_answer_of_the_model_passed():
    found, _ = run(rows(target_caption=["a dog on a sofa", BUS]), lexicon="wordnet:3.0", num_turns=2)
    assert [turn["edit_writer"] for row in found for turn in row["further_turns"]] == ["wordnet", "model"]


def test_turns_of_a_row_do_not_depend_on_the_others():
    table = rows(target_caption=[BUS, "a dog on a sofa", "a red boat near a house", "cats near a tree"])
    settings = {"model": None, "shares": {}, "lexicon": "wordnet:3.0", "num_turns": 4}
    whole, _ = run(table, **settings)
    parts = [run(table.slice(at, 1), **settings)[0][0] for at in range(table.num_rows)]
    assert parts == whole
    assert len({row[SAMPLE_ID] for row in whole}) == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": None}, "nobody writes the turns: set model, lexicon or both"),
        ({"shares": {}}, "a model is asked for types of edit: set shares"),
        ({"num_examples": 3}, "without examples set num_instructions = 0 and num_examples = 0"),
    ],
)
def test_settings_without_a_writer_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        WriteTurns(**{**SETTINGS, **settings})
