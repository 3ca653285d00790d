"""The reader of edits without images, on InstructPix2Pix's lines and on lines that lie."""

import json

import pytest
from _inputs import read_rows

from core.errors import PlanError
from pipeline.context import Context
from pipeline.plan.plugins import stage_class
from stages.read_edit_texts import ReadEditTexts

LINES = [
    {"caption": "a cat", "edit": "add a hat", "output": "a cat in a hat", "url": "http://x/1.jpg"},
    {"input": " a road\n", "edit": "make it winter", "output": "a road in snow"},
    {"edit": "make it winter", "output": "a road in snow"},
    {"input": "a road", "edit": "make it winter"},
    {"input": "a road", "output": "a road in snow", "edit": 3},
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "human.jsonl"
    file.write_text("\n\n".join(map(json.dumps, LINES)) + "\n[1]\n" + "x" * 1_100_000 + "\n{")
    return file


def test_lines_of_both_names_are_read_and_the_others_rejected(path):
    rows, _ = read_rows(ReadEditTexts(rows_per_shard=2), path)
    assert [row["reject_reason"] for row in rows] == [
        None, None, "missing_caption", "missing_target_caption", "missing_instruction", *["broken_metadata"] * 3,
    ]  # fmt: skip
    assert (rows[0]["source_caption"], rows[0]["caption"], rows[0]["source_url"]) == ("a cat", "a cat", LINES[0]["url"])
    assert (rows[1]["source_caption"], rows[1]["target_caption"]) == ("a road", "a road in snow")
    assert json.loads(rows[1]["source_metadata"]) == LINES[1]
    assert [row["source_key"] for row in rows[:3]] == ["line 1", "line 2", "line 3"]


def test_id_is_that_of_the_texts_alone(path, tmp_path):
    rows, _ = read_rows(ReadEditTexts(), path)
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"x": 1}) + "\n" + json.dumps({**LINES[0], "url": None}))
    again, _ = read_rows(ReadEditTexts(), other)
    assert again[1]["sample_id"] == rows[0]["sample_id"]
    assert len({row["sample_id"] for row in rows}) == len(rows)


def test_chain_that_wants_pixels_cannot_begin_with_texts():
    assert set(stage_class("normalise_image").reads) - set(ReadEditTexts.writes) == {"source_raw"}


def test_file_cut_after_the_plan_fails_its_shard(path):
    stage = ReadEditTexts(rows_per_shard=2)
    shards = stage.list_shards([str(path)])
    path.write_text("{}\n" * 3)
    with pytest.raises(Exception, match="changed after the plan"):
        list(stage.open(Context(stage_name="test"))(shards[-1]))


def test_file_without_lines_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(PlanError, match="hold no lines"):
        ReadEditTexts().list_shards([str(tmp_path / "a.jsonl")])
