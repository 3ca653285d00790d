"""The stage: what the input has, rules, and a model that is asked again."""

import json

import pytest
from _inputs import table

from models.language.example_sets import EditExamples, ExampleEdit
from pipeline.context import Context
from stages.write_reverse import WriteReverse

EDITS = [
    ("a car", "a green car", "make the car green"),
    ("a red car", "a blue car", "make the car blue"),
    ("a house", "a house in winter", "make it winter"),
]


def answer(text):
    return json.dumps({"reverse_instruction": text})


class Scripted:
    """Gives each edit, by a word of its prompt, the answers of a script in turn."""

    def __init__(self, **script):
        self.script = {word: iter(answers) for word, answers in script.items()}
        self.calls = []

    def generate(self, prompts, *, seeds, **settings):
        self.calls.append((list(prompts), list(seeds), settings))
        asked = [prompt.rpartition("Request: ")[2].partition("\n")[0] for prompt in prompts]
        return [next(next(self.script[word] for word in self.script if word in one)) for one in asked]


def write(stage, model=None, edits=EDITS, examples=(), **columns):
    sources, targets, instructions = zip(*edits, strict=True)
    rows = table(source_caption=list(sources), target_caption=list(targets), instruction=list(instructions), **columns)
    ctx = Context(stage_name="test", loader=lambda protocol, *_: {"TextGenerator": model}.get(protocol, examples))
    return stage.open(ctx)(rows).to_pylist(), dict(ctx.notes)


def written(rows):
    return [(row["reverse_instruction"], row["reverse_writer"]) for row in rows]


def test_rules_write_what_is_sure_and_the_rest_is_rejected_without_a_model():
    rows, _ = write(WriteReverse())
    assert written(rows) == [(None, None), ("make the car red", "rule"), (None, None)]
    assert [row["reject_reason"] for row in rows] == ["no_rule", None, "no_rule"]


def test_model_is_asked_for_the_rest_and_again_with_other_seeds():
    model = Scripted(
        green=["no JSON", answer("make the car white"), answer("make the car a car without green")],
        winter=[answer("remove the winter from it")],
    )
    rows, notes = write(WriteReverse(model="zoo:llm"), model)
    assert written(rows) == [
        ("make the car a car without green", "model"), ("make the car red", "rule"),
        ("remove the winter from it", "model"),
    ]  # fmt: skip
    assert [len(prompts) for prompts, _, _ in model.calls] == [2, 1, 1]
    seeds = [seed for _, seeds, _ in model.calls for seed in seeds]
    assert len(set(seeds)) == 4
    assert max(seeds) < 2**32
    assert notes == {
        "reverse answers": 4, "reverse answers: unparsable": 1, "reverse answers: reverse_invents": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "unparsable"), ("{" * 9000, "unparsable"), (answer("a\0b c"), "unparsable"),
        (answer(" "), "unparsable"), (json.dumps({"reverse_instruction": 3}), "unparsable"),
        (answer("remove it " * 40), "wrong_length"), (answer("make the car white"), "reverse_invents"),
        (answer("keep the car"), "reverse_does_not_undo"),
    ],
)  # fmt: skip
def test_edit_is_rejected_by_the_check_that_the_last_answer_failed(text, reason):
    rows, _ = write(WriteReverse(model="zoo:llm", max_retries=1), Scripted(green=[text, text]), EDITS[:1])
    assert rows[0]["reject_reason"] == reason
    assert rows[0]["reject_detail"] == text[:200]
    assert written(rows) == [(None, None)]


def test_answer_with_half_of_a_surrogate_pair_is_rejected():
    rows, _ = write(WriteReverse(model="zoo:llm", max_retries=0), Scripted(green=["\ud83d"]), EDITS[:1])
    assert (rows[0]["reject_reason"], rows[0]["reject_detail"]) == ("unparsable", "?")


def test_answer_of_several_lines_is_taken_on_one():
    model = Scripted(green=[answer("make the car\na car\u00a0without green")])
    rows, _ = write(WriteReverse(model="zoo:llm", max_retries=0), model, EDITS[:1])
    assert written(rows) == [("make the car a car without green", "model")]


def test_reverse_of_the_input_is_kept_where_it_passes():
    theirs = ["make the car white again", "paint the car red", " "]
    rows, notes = write(WriteReverse(), reverse_instruction=theirs)
    assert written(rows) == [(None, None), ("paint the car red", "input"), (None, None)]
    assert notes == {"reverse instructions of the input, not kept: reverse_invents": 1}
    rows, _ = write(WriteReverse(keep_existing="always"), reverse_instruction=theirs)
    assert written(rows)[:2] == [("make the car white again", "input"), ("paint the car red", "input")]
    rows, _ = write(WriteReverse(keep_existing="never"), reverse_instruction=theirs)
    assert written(rows)[1] == ("make the car red", "rule")


def test_edit_that_lacks_a_text_or_a_change_is_rejected():
    edits = [(None, "a dog", "make it a dog"), ("a cat", "a dog", " "), ("a cat", "the cat", "make it better")]
    rows, _ = write(WriteReverse(), edits=edits)
    assert [(row["reject_reason"], row["reject_detail"]) for row in rows] == [
        ("missing_text", "no source_caption"), ("missing_text", "no instruction"), ("no_change", "the cat"),
    ]  # fmt: skip


def test_edit_with_an_endless_text_is_rejected_at_once():
    endless = " ".join(["a", "b"] * 100_000)
    edits = [(endless, "a dog", "make it a dog"), ("a cat", "x" * 2001, "make it x"), ("a cat", "a dog", endless)]
    rows, _ = write(WriteReverse(keep_existing="always"), edits=edits, reverse_instruction=["add a cat"] * 3)
    assert [(row["reject_reason"], row["reject_detail"]) for row in rows] == [
        ("wrong_length", f"too long: {name}") for name in ("source_caption", "target_caption", "instruction")
    ]


def test_prompt_shows_sampled_examples_and_ends_with_the_edit():
    fields = ("caption", "edit_type", "instruction", "object", "target_caption", "reverse_instruction")
    examples = tuple(ExampleEdit(id=str(n), **{name: f"{name} {n}" for name in fields}) for n in range(9))
    model = Scripted(green=[answer("remove the green from the car")])
    write(WriteReverse(model="zoo:llm", examples="path:x.jsonl", num_examples=2), model, EDITS[:1],
          EditExamples(examples))  # fmt: skip
    ((prompt,), _, settings) = model.calls[0]
    assert prompt.count('{"reverse_instruction": "reverse_instruction ') == 2
    assert prompt.endswith(
        "Caption: a car\nRequest: make the car green\nCaption of the edited image: a green car\n"
        "Reverse request as JSON: "
    )
    assert settings["json_schema"]["required"] == ["reverse_instruction"]
