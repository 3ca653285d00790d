"""The command from a table to the lines of a manifest."""

import json

import pytest


@pytest.fixture
def table(tmp_path):
    rows = [{"sample_id": f"s{n}", "judge_score": None if n == 9 else n, "edit_type": "add"} for n in range(10)]
    (tmp_path / "scores.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    labels = "".join(f"s{n},{'good' if n > 4 else 'bad'}\n" for n in range(10))
    (tmp_path / "labels.csv").write_text(f"sample_id,label\n{labels}")
    return tmp_path / "scores.jsonl"


def test_the_best_threshold_by_labels_is_printed_for_a_manifest(table, tmp_path, editloom):
    code, printed, _ = editloom("calibrate", table, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out")
    assert code == 0
    files = [str(tmp_path / "out" / f"calibration.{suffix}") for suffix in ("parquet", "md", "png")]
    assert printed.splitlines() == [*files, "bounds.judge_score = { min = 5.0 }"]


def test_without_labels_the_keep_rate_decides(table, tmp_path, editloom):
    code, printed, _ = editloom("calibrate", table, "--out", tmp_path / "out", "--keep-rate", 0.3, "--json")
    assert code == 0
    assert json.loads(printed)["bounds"] == ["bounds.judge_score = { min = 6.0 }"]


def test_a_rule_that_suggests_nothing_is_said(table, tmp_path, editloom):
    (tmp_path / "labels.csv").write_text("sample_id,label\n" + "".join(f"s{n},bad\n" for n in range(9)))
    flags = ("--labels", tmp_path / "labels.csv", "--precision", 0.9)
    code, printed, said = editloom("calibrate", table, "--out", tmp_path / "out", *flags)
    assert (code, len(printed.splitlines())) == (0, 3)
    assert said == "No threshold is suggested: none reaches precision 0.9.\n"


def test_without_labels_and_rule_there_is_the_curve_alone(table, tmp_path, editloom):
    code, printed, _ = editloom("calibrate", table, "--out", tmp_path / "out")
    assert (code, len(printed.splitlines())) == (0, 3)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--keep-rate", 0.5, "--precision", 0.9],
            "--keep-rate and --precision each suggest a threshold; give one of them",
        ),
        (["--precision", 0.9], "a threshold by precision needs labels of these samples; give --labels, or --keep-rate"),
        (["--score", "judge_scores"], "has no column 'judge_scores' (did you mean 'judge_score'?)"),
        (["--labels", "nowhere.csv"], "is not there; correct the path"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(table, tmp_path, editloom, flags, said):
    code, _, error = editloom("calibrate", table, "--out", tmp_path / "out", *flags)
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
