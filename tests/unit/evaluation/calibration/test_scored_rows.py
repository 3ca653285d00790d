"""Scores and labels of every kind of file, and what is wrong with others."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import EditloomError, EvaluationError, UsageError
from evaluation.calibration.scored_rows import read_labels, read_scored
from pipeline.run.rejects import REJECT_SCHEMA


def dataset(folder, rejects=()):
    """A dataset with three samples, one of them an abstention, and rejects as `emit` writes them."""
    folder.mkdir()
    table = {"sample_id": ["a", "b", "c"], "judge_score": [9.0, None, 4.0], "edit_type": ["add", "add", None]}
    pq.write_table(pa.table(table), folder / "samples.parquet")
    rows = [
        {"sample_id": f"r{n}", "stage": "select", "reject_reason": reason, "row": json.dumps(row)}
        for n, (reason, row) in enumerate(rejects)
    ]
    pq.write_table(pa.Table.from_pylist(rows, REJECT_SCHEMA), folder / "rejects.parquet")
    return str(folder)


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def values(scored):
    return {
        one: (kind, None if math.isnan(score) else float(score))
        for one, kind, score in zip(scored.ids, scored.edit_types, scored.score_N, strict=True)
    }


def test_rejects_with_a_score_or_an_abstention_count_and_others_do_not(tmp_path):
    rejects = [
        ("low_pair_ssim", {"judge_score": 2.0, "judge_status": "parsed", "edit_type": "remove"}),
        ("low_pair_ssim", {"judge_status": "unparsed"}),
        ("low_judge_score", {}),
        ("low_pair_ssim", {"caption": "rejected before it was judged"}),
    ]
    found = read_scored(dataset(tmp_path / "d", rejects), "judge_score")
    assert values(found) == {
        "a": ("add", 9.0), "b": ("add", None), "c": ("untyped", 4.0), "r0": ("remove", 2.0), "r1": ("untyped", None),
        "r2": ("untyped", None),
    }  # fmt: skip
    assert found.left_out == {"select": 1}


def test_a_dataset_without_rejects_and_a_table_are_read(tmp_path):
    folder = dataset(tmp_path / "d")
    (tmp_path / "d" / "rejects.parquet").unlink()
    assert values(read_scored(folder, "judge_score")) == values(read_scored(f"{folder}/samples.parquet", "judge_score"))


def test_json_lines_are_read_in_place_of_a_table(tmp_path):
    lines = '\n{"sample_id": "a\u2028", "s": 3}\n{"sample_id": "b", "s": null, "edit_type": "x"}\n{"sample_id": "c"}\n'
    found = values(read_scored(write(tmp_path / "t.jsonl", lines), "s"))
    assert found == {"a\u2028": ("untyped", 3), "b": ("x", None), "c": ("untyped", None)}


def test_half_of_a_surrogate_pair_in_a_type_is_replaced(tmp_path):
    found = read_scored(write(tmp_path / "t.jsonl", '{"sample_id": "a", "s": 1, "edit_type": "x\\ud83d"}'), "s")
    assert found.edit_types == ["x?"]


def test_a_dataset_at_a_url_is_read(tmp_path):
    assert len(read_scored(f"file://{dataset(tmp_path / 'd')}", "judge_score").ids) == 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.txt", "", "is no folder and no file that ends in .parquet or .jsonl"),
        ("t.jsonl", "", "has no column 's'"),
        ("t.jsonl", '{"sample_id": "a", "score": 1}', r"has no column 's' \("),
        ("t.jsonl", '{"sample_id": "a", "s": "high"}', "line 1: s is 'high'; expected a number"),
        ("t.jsonl", '{"sample_id": "a", "s": true}', "s is True; expected a number"),
        ("t.jsonl", '{"sample_id": "a", "s": Infinity}', "s is inf; expected a number"),
        ("t.jsonl", '{"sample_id": "a", "s": 1e39}', "s is 1e\\+39; expected a number"),
        ("t.jsonl", f'{{"sample_id": "a", "s": {"9" * 400}}}', "s is 9{60}; expected a number"),
        ("t.jsonl", '{"sample_id": 7, "s": 1}', "sample_id is 7; expected text"),
        ("t.jsonl", '{"s": 1}', "sample_id is None; expected text"),
        ("t.jsonl", '{"sample_id": "a", "s": 1}\n{"sample_id": "a", "s": 1}', "'a' occurs twice"),
        ("t.jsonl", "[" * 100_000, "line 1 is no JSON object"),
        ("t.jsonl", b'{"sample_id": "\xff"}', "is not UTF-8"),
        ("t.parquet", "no table", "cannot be read as Parquet"),
        ("missing/t.jsonl", None, "is not there"),
        ("missing/t.parquet", None, "is not there"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, name, text, said):
    path = str(tmp_path / name) if text is None else write(tmp_path / name, text)
    with pytest.raises(EditloomError, match=said) as caught:
        read_scored(path, "s")
    assert "\n" not in str(caught.value)


def test_a_dataset_without_the_column_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"has no column 'judge_scor' \(did you mean 'judge_score'\?\)"):
        read_scored(dataset(tmp_path / "d"), "judge_scor")


def test_labels_are_words_or_numbers(tmp_path):
    csv = write(tmp_path / "l.csv", "\ufeffsample_id,label,note\na,good,\nb,0,x\nc, Bad ,\na,1,\n")
    assert read_labels(csv) == {"a": True, "b": False, "c": False}
    lines = '{"sample_id": "a", "label": 1}\n{"sample_id": "b", "label": false}\n{"sample_id": "c", "label": "good"}'
    assert read_labels(write(tmp_path / "l.jsonl", lines)) == {"a": True, "b": False, "c": True}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "sample_id,label\na,fine\n", "line 2: label is 'fine'; expected one of good, 1, bad, 0"),
        ("l.csv", "sample_id,label\na,\n", "label is ''"),
        ("l.csv", "sample_id,label\na\n", "label is None"),
        ("l.csv", "id,label\na,good\n", "sample_id is None; expected text"),
        ("l.csv", "sample_id,label\na,good\na,bad\n", "'a' is labelled both good and bad"),
        ("l.csv", "sample_id,label\n", "has no label"),
        ("l.csv", "sample_id,label\n" + '"' + "x" * 200_000, "cannot be read as CSV"),
        ("l.jsonl", '{"sample_id": "a", "label": 0.5}', "label is 0.5"),
        ("l.jsonl", '["a", "good"]', "is no JSON object"),
        ("l.txt", "a good", "is no file of labels"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_one_line(tmp_path, name, text, said):
    with pytest.raises((UsageError, EvaluationError), match=said) as caught:
        read_labels(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)
