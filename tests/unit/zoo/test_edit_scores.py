"""The world benchmark: the truth is read back, a copy of the source is not, and means are weighted by edits."""

import math

import pytest

from zoo.evaluate_edits import main
from zoo.evaluation.edits import (
    EditScores,
    KindScores,
    as_markdown,
    score_images,
    sources,
    through_autoencoder,
    truths,
    write_cases,
)
from zoo.world import KINDS

COUNT = 42


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("world") / "cases", COUNT)


@pytest.fixture(scope="module")
def truth(cases, tmp_path_factory):
    return score_images(cases, tmp_path_factory.mktemp("truth"), truths(cases), "truth")


@pytest.fixture(scope="module")
def copy(cases, tmp_path_factory):
    return score_images(cases, tmp_path_factory.mktemp("copy"), sources(cases), "copy")


def test_the_true_target_is_read_back(truth):
    assert truth.mean("read_back") > 0.8
    for kind in ("change_colour", "move", "change_background", "add"):
        assert truth.mean("read_back", [kind]) > 0.8, kind


def test_a_copy_of_the_source_is_read_back_in_no_kind(copy):
    for kind in KINDS:
        assert copy.mean("read_back", [kind]) < 0.1, kind


def test_the_truth_is_nearer_to_itself_than_the_source_is(truth, copy):
    assert truth.mean("l1") == 0
    assert copy.mean("l1") > 0.03
    assert truth.mean("clip_i") == pytest.approx(1, abs=1e-4)
    assert copy.mean("clip_i") < 0.95
    assert truth.mean("clip_direction") > 0.4
    assert copy.mean("clip_direction") == 0
    assert copy.mean("ssim_outside") == pytest.approx(1)


def test_a_style_has_no_outside(truth):
    assert math.isnan(truth.mean("l1_outside", ["change_style"]))
    assert truth.mean("l1_outside", ["change_style", "add"]) == 0


def test_an_autoencoder_is_between_truth_and_noise(cases, truth, tmp_path):
    decoded = through_autoencoder(truths(cases), "zoo:sd")
    scores = score_images(cases, tmp_path, decoded, "decoded")
    assert 0.003 < scores.mean("l1") < 0.03
    assert scores.mean("read_back") <= truth.mean("read_back")


def test_means_are_weighted_by_the_edits_of_a_kind():
    three, one = KindScores({"l1": 0.1}, {"l1": 0.2}, {"l1": 3}), KindScores({"l1": 0.5}, {"l1": 0.0}, {"l1": 1})
    scores = EditScores({"add": three, "move": one})
    assert scores.mean("l1") == pytest.approx(0.2)
    assert scores.error("l1", ["add"]) == pytest.approx(0.2 / 3**0.5)
    assert scores.error("l1") == pytest.approx((3 * 0.2**2) ** 0.5 / 4)
    assert scores.mean("l1", ["move"]) == 0.5
    assert math.isnan(scores.mean("l2"))
    assert EditScores.of_json(scores.as_json()) == scores


def test_tables_name_every_row_and_kind():
    text = as_markdown(
        {"mine": EditScores({"add": KindScores({"read_back": 0.5}, {"read_back": 0.5}, {"read_back": 2})})}, ["add"]
    )
    assert "| mine | 0.500 |" in text
    assert "| read back | add |" in text
    assert "| mine | 0.50 |" in text


def test_cases_of_other_kinds_are_written_anew(tmp_path):
    write_cases(tmp_path, 4, ("add",))
    assert len(write_cases(tmp_path, 3, ("add",)).cases) == 3
    assert {one.facts["edit_type"] for one in write_cases(tmp_path, 3, ("move",)).samples} == {"move"}


def test_the_command_prints_the_rows_without_editor(tmp_path, capsys):
    assert main([str(tmp_path), "--count", "2", "--kinds", "change_colour"]) == 0
    assert "| ground truth | 1.000 | 0.000 |" in capsys.readouterr().out
    assert (tmp_path / "edits.json").is_file()


def test_a_model_that_is_no_editor_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "--count", "2", "--model", "zoo:clip"]) != 0
    assert capsys.readouterr().err.count("\n") == 1
