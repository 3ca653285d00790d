"""`editloom export`: exit codes, messages, the result as text and as JSON."""

import json

import pytest
from _export_datasets import mixed_dataset, row_members, write_export_dataset

from cli.exits import run
from cli.main import app


@pytest.fixture
def dataset(tmp_path):
    return mixed_dataset(tmp_path / "dataset")


def export(dataset, out, *more):
    return run(app, ["export", str(dataset), "--out", str(out), "--workers", "1", *more])


def test_export_names_rows_those_left_out_and_the_card(dataset, tmp_path, capsys):
    assert export(dataset, tmp_path / "out", "--to", "imagefolder") == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/out: 6 rows, 2 left out (left_out.jsonl); how to use them: {tmp_path}/out/README.md\n"
    )


def test_export_as_json(dataset, tmp_path, capsys):
    assert export(dataset, tmp_path / "out", "--to", "diffsynth", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": f"{tmp_path}/out", "num_rows": 7, "left_out": {"lacks_column": 1}, "num_exported": 2, "num_shards": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--to", "diffsyth"], "no format is called 'diffsyth' (did you mean 'diffsynth'?)"),
        (["--to", "diffsynth", "--set", "captoin=x"], "unknown key 'captoin' (did you mean 'caption'?)"),
        (["--to", "diffsynth", "--set", "caption=title"], "caption: input should be 'instruction' or 'target_caption'"),
        (["--to", "diffsynth", "--out", "s3://bucket/x"], "trainers read local folders"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(more, message, dataset, tmp_path, capsys):
    assert export(dataset, tmp_path / "out", *more) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_folder_that_is_no_dataset_is_exit_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert export(tmp_path / "empty", tmp_path / "out", "--to", "diffsynth") == 2
    assert "holds no shards.json" in capsys.readouterr().err


def test_export_without_a_row_is_exit_1(tmp_path, capsys):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1, instruction=None)}])
    assert export(dataset, tmp_path / "out", "--to", "diffsynth") == 1
    assert "no row of" in capsys.readouterr().err
