"""Sections, rules, and the lines that go into a manifest."""

import math
import tomllib
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.errors import UsageError
from evaluation.calibration.calibrate import Rule, calibrate
from evaluation.calibration.scored_rows import Scored
from evaluation.calibration.write import page, thinned, write_calibration
from stages.select import Select

SCORES = [n / 10 for n in range(100)]


def scored(edit_types=("x",), scores=SCORES):
    types = [edit_types[n % len(edit_types)] for n in range(len(scores))]
    ids = [f"s{n}" for n in range(len(scores))]
    return Scored(ids=ids, edit_types=types, score_N=np.array(scores, np.float32))


def labels(from_score, count=100):
    return {f"s{n}": SCORES[n] >= from_score for n in range(count)}


def suggested(rule, given=None, **of):
    found = calibrate(scored(**of), "judge_score", labels(4.0) if given is None else given, rule)
    return [None if one.suggested is None else round(one.suggested.threshold, 4) for one in found.sections]


def test_keep_rate_takes_the_highest_threshold_that_keeps_the_share():
    assert suggested(Rule("keep_rate", 0.25), {}) == [7.5]
    assert suggested(Rule("keep_rate", 1.0), {}) == [0.0]
    assert suggested(Rule("keep_rate", 1.0), {}, scores=[1.0, math.nan]) == [None]


def test_precision_takes_the_lowest_threshold_that_reaches_it():
    assert suggested(Rule("precision", 1.0)) == [4.0]
    assert suggested(Rule("precision", 0.75)) == [2.0]
    assert suggested(Rule("precision", 0.5), {f"s{n}": False for n in range(50)}) == [None]


def test_kappa_takes_the_threshold_that_agrees_best():
    assert suggested(Rule("kappa")) == [4.0]


def test_a_rule_that_needs_labels_is_refused_without_any():
    for given in ({}, {"other": True}):
        with pytest.raises(UsageError, match="needs labels of these samples; give --labels, or --keep-rate"):
            suggested(Rule("precision", 0.9), given)


def test_each_edit_type_has_a_section_of_its_own_rows():
    found = calibrate(scored(("b", "a")), "judge_score", labels(4.0), Rule("kappa"))
    assert [(one.name, one.num_rows, one.num_labelled) for one in found.sections] == [
        ("all", 100, 100), ("a", 50, 50), ("b", 50, 50)
    ]  # fmt: skip
    assert found.sections[0].area_under_curve == 1


def test_one_edit_type_alone_is_all():
    assert [one.name for one in calibrate(scored(), "judge_score", {}, None).sections] == ["all"]


def test_a_type_with_few_labels_has_no_bound_of_its_own():
    few = {one: good for one, good in labels(4.0).items() if int(one[1:]) % 2 == 0 or int(one[1:]) < 30}
    found = calibrate(scored(("add", "move")), "judge_score", few, Rule("kappa"))
    assert [one.suggested is None for one in found.sections] == [False, False, True]
    assert "No bound of their own: move. These types reach it at no threshold, or have fewer than 20" in page(found)


def test_labels_of_unknown_samples_are_counted():
    found = calibrate(scored(), "judge_score", {**labels(4.0), "q": True}, None)
    assert found.num_unknown_labels == 1
    assert "1 labels are of samples that the table does not have." in page(found)


def test_bounds_are_lines_of_a_manifest_that_keep_the_same_rows():
    odd = 'a "b"\nc\x7f\U0001f600'
    found = calibrate(scored(("add", odd, "untyped")), "judge_score", {}, Rule("keep_rate", 0.31))
    bounds = tomllib.loads("\n".join(found.bounds()))
    select = Select(**bounds)
    assert set(select.bounds_by_edit_type) == {"add", odd}
    kept = [
        score for score in np.array(SCORES, np.float32) if select.bounds["judge_score"].failed(float(score)) is None
    ]
    assert len(kept) == found.sections[0].suggested.num_kept == 31


def test_without_a_rule_nothing_is_suggested():
    found = calibrate(scored(), "judge_score", {}, None)
    assert found.bounds() == []
    assert "No threshold is suggested" in page(found)
    assert "precision" not in page(found)


def test_labels_that_agree_by_chance_suggest_nothing():
    found = calibrate(scored(), "judge_score", {name: not good for name, good in labels(4.0).items()}, Rule("kappa"))
    assert found.bounds() == []
    assert found.notes() == ["No threshold is suggested: none agrees with the labels better than chance does."]
    assert found.notes()[0] in page(found)


def test_rejects_that_are_not_counted_are_named():
    rows = replace(scored(), left_out={"dedup": 3, "take_rows": 90})
    said = "Rejects that do not say their judge_score are not counted: dedup 3, take_rows 90."
    assert said in page(calibrate(rows, "judge_score", {}, Rule("keep_rate", 0.5)))


def test_a_plot_of_an_earlier_run_goes_where_there_is_none(tmp_path):
    for scores in (None, [math.nan]):
        rows = scored() if scores is None else scored(scores=scores)
        write_calibration(calibrate(rows, "judge_score", {}, None), tmp_path)
    assert not (tmp_path / "calibration.png").exists()


def test_files_have_every_threshold_and_a_plot(tmp_path):
    found = calibrate(scored(("a", "b")), "judge_score", labels(4.0), Rule("kappa"))
    written = write_calibration(found, tmp_path / "out")
    assert [path.name for path in written] == ["calibration.parquet", "calibration.md", "calibration.png"]
    rows = pq.read_table(written[0]).to_pylist()
    assert len(rows) == 200
    best = next(row for row in rows if row["section"] == "all" and row["kappa"] == 1)
    assert (round(best["threshold"], 4), best["num_kept"], best["keep_rate"], best["f1"]) == (4.0, 60, 0.6, 1.0)
    assert Image.open(written[2]).size == (960, 2 * (640 + 3 * 26))
    survival = calibrate(scored(), "judge_score", {}, None)
    write_calibration(survival, tmp_path / "two")
    assert Image.open(tmp_path / "two" / "calibration.png").size == (960, 640 + 26)


def test_rows_that_all_abstain_have_a_page_and_no_plot(tmp_path):
    found = calibrate(scored(scores=[math.nan] * 3), "judge_score", {}, Rule("keep_rate", 0.5))
    assert [path.name for path in write_calibration(found, tmp_path)] == ["calibration.parquet", "calibration.md"]
    assert "3 edits, 3 abstentions" in (tmp_path / "calibration.md").read_text()


def test_names_from_data_cannot_shape_the_page():
    hostile = "x |\n# <b>`"
    text = page(calibrate(scored(("a", hostile)), "judge_score", {}, None))
    assert "## x b" in text
    assert "<b>" not in text


def test_a_long_list_of_thresholds_is_thinned_at_both_ends():
    points = calibrate(scored(), "judge_score", {}, None).sections[0].points
    shown = thinned(points)
    assert (len(shown), shown[0], shown[-1]) == (21, points[0], points[-1])
    assert points[1] not in shown
    assert thinned(points, points[1]) == [points[0], points[1], *shown[1:]]
    assert (thinned([]), thinned(points[:1])) == ([], points[:1])


def test_the_page_shows_the_suggested_threshold():
    for goal in (0.31, 0.32, 0.33):
        assert page(calibrate(scored(), "judge_score", {}, Rule("keep_rate", goal))).count("**suggested**") == 1
