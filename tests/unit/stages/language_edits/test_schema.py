import json

import pytest

from stages.language_edits.schema import FIELDS, LONGEST_FIELD, EditAnswer, answer_schema, parse_answer

ANSWER = {
    "edit_type": "add", "instruction": "add a ball", "object": "ball", "target_caption": "a dog with a ball",
    "reverse_instruction": "remove the ball",
}  # fmt: skip
EDIT = EditAnswer(**ANSWER)


def text(**changes):
    return json.dumps({**ANSWER, **changes})


@pytest.mark.parametrize(
    "answer",
    [text(), f"Here is the edit:\n```json\n{text()}\n```\nDone.", text(object="  ball \n"), text(extra=[1, {}])],
)
def test_object_is_found_in_an_answer(answer):
    assert parse_answer(answer) == EDIT


def test_repeated_caption_is_kept():
    assert parse_answer(text(caption=" a  dog ")).caption == "a dog"
    assert parse_answer(text(caption=3)).caption is None


@pytest.mark.parametrize(
    "answer",
    [
        "", "no", "{", "}{", "[]", "{}", text()[:-5], f"[{text()}]"[:-2], text() + text(), text(object=" "),
        text(instruction=None), text(instruction=["add"]), text(target_caption="x" * (LONGEST_FIELD + 1)),
        text(instruction="a \ud800 b"), text(instruction="a \x00 b"), '{"a":' * 100_000 + "}" * 100_000,
        json.dumps({name: value for name, value in ANSWER.items() if name != "object"}),
    ],
    ids=range(17),
)  # fmt: skip
def test_answer_without_an_edit_is_none(answer):
    assert parse_answer(answer) is None


def test_schema_names_fields_in_order_and_types_of_edit():
    schema = answer_schema(["add", "remove"], repeats_caption=False)
    assert tuple(schema["properties"]) == tuple(schema["required"]) == FIELDS
    assert schema["properties"]["edit_type"] == {"type": "string", "enum": ["add", "remove"]}
    assert schema["additionalProperties"] is False
    assert tuple(answer_schema(["add"], repeats_caption=True)["properties"]) == ("caption", *FIELDS)
