import pytest

from cli import display

BUILD = {
    "ok": True, "empty": None, "few_left": None, "quota": None, "shards_without_rows": [], "num_shards": 2,
    "manifest": "fake", "out": "runs/x", "dataset": "runs/x/dataset", "nothing_to_do": False,
    "interrupted": False, "stopped": None, "failures": [], "steps_left": 0, "elapsed_s": 1.5,
    "stages": [
        {"stage": "upper", "done": 2, "total": 2, "cached": 1, "failed": 0, "rows_in": 1234, "rows_kept": 1200,
         "rows_out": 1200, "rejects": {"dropped": 34}, "notes": {"archive cut off": 2}, "worker_s": 1.0},
    ],
}  # fmt: skip


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def show(function, value):
        function(value)
        return capsys.readouterr().out

    return show


def test_build_shows_the_funnel_the_notes_and_the_dataset(shown):
    text = shown(display.show_build, BUILD)
    for part in ("upper", "2/2", "1,234", "1,200", "dropped 34", "note: upper: archive cut off: 2"):
        assert part in text
    assert "dataset: runs/x/dataset\n" in text
    assert "open runs/x/dataset/report.html in a browser" in text


def test_build_with_nothing_to_do_says_so(shown):
    text = shown(display.show_build, {**BUILD, "nothing_to_do": True})
    assert "runs/x: every step has its record already; nothing to do" in text


def test_failed_build_shows_each_cause_and_how_to_go_on(shown):
    failures = [{"stage": "upper", "shard": "a", "cause": "stage upper, shard a: [bold]broken"}]
    text = shown(
        display.show_build, {**BUILD, "ok": False, "failures": failures, "steps_left": 1234, "stopped": "disk full"}
    )
    assert "failed: stage upper, shard a: [bold]broken\n" in text
    assert "stopped: disk full\n" in text
    assert "not complete: 1,234 steps are left; run the same command to continue" in text
    assert "dataset: " not in text


def test_interrupted_build_says_so(shown):
    text = shown(display.show_build, {**BUILD, "ok": False, "interrupted": True, "steps_left": 2})
    assert "interrupted: 2 steps are left; run the same command to continue" in text


PLAN = {
    "manifest": "fake", "out": "runs/x", "shards": 3, "shards_of_input": 3, "input_bytes": 1500,
    "stages": [{"stage": "upper", "fingerprint": "0123456789abcdef", "done": 0, "total": 3}],
    "licences": {"covers": "models", "lines": ["verdict: permissive: mit (m)"], "warnings": ["no [b]such[/b] claim"]},
}  # fmt: skip


def test_plan_without_a_probe_says_what_is_unknown(shown):
    text = shown(display.show_plan, PLAN)
    assert "fake: 3 shards, 1.5 KB of input, run folder runs/x" in text

    assert "0123456789ab" in text
    assert "0/3" in text
    assert "rows, disk and time: unknown; --probe 64 measures them on a sample" in text


def test_plan_of_a_number_of_rows_says_how_much_of_the_input_it_shows(shown):
    assert "fake: for now 3 of 20 shards, 1.5 KB" in shown(display.show_plan, {**PLAN, "shards_of_input": 20})


def test_plan_shows_the_expected_verdict_and_warnings(shown):
    text = shown(display.show_plan, PLAN)
    assert "licences of models: verdict: permissive: mit (m)" in text
    assert "warning: no [b]such[/b] claim" in text
    empty = {"covers": "models", "lines": [], "warnings": []}
    text = shown(display.show_plan, {**PLAN, "licences": empty})
    assert "licences of models: no model is used, and no licence of the input is stated" in text


def test_plan_with_a_probe_shows_rows_disk_and_time(shown):
    stage = PLAN["stages"][0] | {"estimated_rows": 5000, "estimated_bytes": 2_500_000, "estimated_worker_s": 90.0}
    text = shown(display.show_plan, {**PLAN, "stages": [stage]})
    assert "in all about 2.5 MB of disk and 1.5 min of one worker" in text
    assert "5,000" in text


def test_status_says_who_is_at_work(shown):
    stage = {"stage": "upper", "done": 1, "total": 2, "rows_out": 9, "rejects": {}}
    report = {"out": "runs/x", "holder": None, "complete": False, "stages": [stage], "empty": None,
              "may_be_empty": False}  # fmt: skip
    assert "at work: nobody; not complete" in shown(display.show_status, report)
    report |= {"holder": "held by process 7 on here since now", "complete": True}
    assert "at work: held by process 7 on here since now; complete" in shown(display.show_status, report)


def test_story_has_a_block_a_step_and_leaves_out_what_is_empty(shown):
    story = [{"stage": "upper", "shard": "a", "fate": "kept", "row": {"caption": "[red]one", "source_url": None}}]
    assert shown(display.show_story, story) == "upper (a): kept\n    caption: [red]one\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (2.5e9, "2.5 GB"), (3e12, "3.0 TB")]
)
def test_sizes_are_in_decimal_units(count, text):
    assert display.size_text(count) == text


@pytest.mark.parametrize(("count", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1.0 min"), (7200, "2.0 h")])
def test_times_are_in_the_unit_that_fits(count, text):
    assert display._seconds(count) == text


def test_shards_without_rows_are_counted_and_the_first_are_named(shown):
    text = shown(display.show_build, {**BUILD, "shards_without_rows": list("abcdefg"), "num_shards": 1000})
    assert "note: 7 of 1,000 shards kept no row: a, b, c, d, e and 2 more\n" in text


@pytest.mark.parametrize(
    ("quota", "line"),
    [
        ({"kept": 1000, "rows": 1000, "is_met": True}, "target_rows: all 1,000 rows are there, from 7 of 20 shards"),
        (
            {"kept": 834, "rows": 834, "is_met": False},
            "target_rows: the input ended: 834 of 1,000 rows, all 20 shards were read",
        ),
        (
            {"kept": 1000, "rows": 998, "is_met": True},
            (
                "target_rows: all 1,000 rows are there, from 7 of 20 shards; later stages failed on 2 of them, see "
                "rejects.parquet"
            ),
        ),
    ],
)
def test_last_line_says_whether_all_wanted_rows_are_there(quota, line, shown):
    full = {"stage": "take_rows", "target_rows": 1000, "shards_read": 7, "shards_of_input": 20, **quota}
    assert shown(display.show_build, {**BUILD, "quota": full}).splitlines()[-1] == line
