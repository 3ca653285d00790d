"""The things that an edit changes: by the rule, by a model, by a model behind an endpoint."""

import json

from _inputs import table
from _openai_server import chat_server, completion

from models import registry
from pipeline.context import Context
from stages.choose_object import ChooseObject


def edits():
    return table(
        instruction=["make the bus red", "add a dog", "remove the cat"],
        source_caption=["a blue bus", "a meadow", "a black cat on a sofa"],
        target_caption=["a red bus", "a meadow with a dog", "a sofa"],
        object_tags=[["bus"], ["grass"], ["cat", "sofa"]],
        source_phrase=["blue bus", "meadow", "black cat"],
        edit_type=["change_colour", "add", "remove"],
    )


def chosen(rows, model=None, loader=registry.load, **settings):
    """(edit_objects, notes)."""
    ctx = Context(stage_name="choose_object", loader=loader)
    found = ChooseObject(model=model, **settings).open(ctx)(rows)["edit_objects"].to_pylist()
    return found, ctx.notes


def test_without_a_model_the_rule_chooses():
    stage = ChooseObject()
    assert stage.needs_columns() == ("source_phrase", "edit_type")
    assert stage.needs_models() == ()
    assert chosen(edits()) == ([["blue bus"], [], ["black cat"]], {})
    assert chosen(edits(), whole_image_types=("remove",))[0] == [["blue bus"], ["meadow"], []]


def test_a_model_needs_no_columns_of_the_rule():
    rows = edits().drop_columns(["source_phrase", "edit_type", "object_tags"])
    assert ChooseObject(model="zoo:llm").needs_columns() == ()
    found, notes = chosen(rows, "zoo:llm", lambda *_: Silent())
    assert found == [[], [], []]
    assert notes["objects by rule"] == 3


class Silent:
    def generate(self, prompts, **_):
        return [""] * len(prompts)


def test_an_endpoint_chooses_and_the_rule_steps_in_where_it_fails():
    def answer(body):
        prompt = body["messages"][-1]["content"]
        assert body["response_format"]["json_schema"]["schema"]["properties"]["objects"]["maxItems"] == 2
        if "make the bus red" in prompt:
            return 200, completion(json.dumps({"objects": ["bus", "road"]}))
        return 200, completion(json.dumps({"objects": ["NONE"]}) if "add a dog" in prompt else "the cat, I think")

    with chat_server(answer) as server:
        found, notes = chosen(edits(), server.model_id, max_retries=1)
    assert found == [["bus", "road"], [], ["black cat"]]
    assert (notes["object answers"], notes["object answers: malformed"], notes["objects by rule"]) == (4, 2, 1)
    assert sorted(body["temperature"] for _, _, body in server.asked) == [0, 0, 0, 0.7]
