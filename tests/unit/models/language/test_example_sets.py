import json

import pytest

from core.errors import ModelError
from models import registry
from models.language.example_sets import BUNDLED, ExampleEdit, read_examples

EDIT = {
    "id": "a", "caption": "a dog", "edit_type": "add", "instruction": "add a ball", "object": "ball",
    "target_caption": "a dog with a ball", "reverse_instruction": "remove the ball",
}  # fmt: skip


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_edits_come_in_the_order_of_the_file(tmp_path):
    path = write(tmp_path / "x.jsonl", EDIT, "", EDIT | {"id": "b", "edit_type": "turn"}, EDIT | {"id": "c"}, "")
    found = read_examples(path)
    assert [edit.id for edit in found.edits] == ["a", "b", "c"]
    assert found.edits[0] == ExampleEdit(**EDIT)
    assert found.edit_types == ("add", "turn")


def test_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    path = write(tmp_path / "x.jsonl", json.dumps(EDIT | {"caption": "a \u2028 dog"}, ensure_ascii=False))
    assert read_examples(path).edits[0].caption == "a dog"


def test_texts_of_an_example_are_on_one_line(tmp_path):
    path = write(tmp_path / "x.jsonl", EDIT | {"caption": " a dog\nEdit type: turn\r\n", "instruction": "add\ta ball"})
    (edit,) = read_examples(path).edits
    assert (edit.caption, edit.instruction) == ("a dog Edit type: turn", "add a ball")


def test_id_that_is_used_twice_is_refused(tmp_path):
    path = write(tmp_path / "x.jsonl", EDIT, EDIT)
    with pytest.raises(ModelError) as caught:
        read_examples(path)
    assert str(caught.value) == f"{path}:2: id 'a' is used twice; give each example an id of its own"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "invalid json"),
        ("[]", "input should be an object"),
        (EDIT | {"object": 3}, "object: input should be a valid string"),
        (EDIT | {"caption": " "}, "caption: string should match pattern"),
        (EDIT | {"instruction": ""}, "instruction: string should have at least 1 character"),
        ({name: EDIT[name] for name in EDIT if name != "object"}, "object: field required"),
    ],
)
def test_damaged_line_is_named(tmp_path, line, reason):
    path = write(tmp_path / "x.jsonl", EDIT, line)
    with pytest.raises(ModelError) as caught:
        read_examples(path)
    assert str(caught.value).startswith(f"{path}:2: {reason}")
    assert str(caught.value).endswith("; expected an object with the texts " + ", ".join(EDIT))


def test_file_without_examples_is_refused(tmp_path):
    path = write(tmp_path / "x.jsonl", "", " ")
    with pytest.raises(ModelError, match=r"x\.jsonl: no examples; expected one JSON object a line"):
        read_examples(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.jsonl: cannot be read as examples: "):
        read_examples(path)


def test_registry_loads_a_set_of_the_project_and_of_the_user(tmp_path):
    path = write(tmp_path / "mine.jsonl", EDIT)
    assert registry.load("EditExamples", f"path:{path}").edits == (ExampleEdit(**EDIT),)
    assert registry.load("EditExamples", "examples:photographs") == read_examples(BUNDLED / "photographs.jsonl")


def test_set_is_no_model_and_a_model_is_no_set(tmp_path):
    path = write(tmp_path / "mine.jsonl", EDIT)
    assert "is of kind 'edit_examples', which cannot serve TextGenerator" in registry.cannot_serve(
        "TextGenerator", f"path:{path}"
    )
    assert "cannot serve EditExamples" in registry.cannot_serve("EditExamples", "zoo:llm")
    assert registry.cannot_serve("EditExamples", "examples:photographs") is None


def test_revision_follows_the_content(tmp_path):
    path = write(tmp_path / "mine.jsonl", EDIT)
    before = registry.revision(f"path:{path}")
    assert before.startswith("sha256:")
    write(path, EDIT | {"instruction": "add a kite"})
    assert registry.revision(f"path:{path}") != before
