"""The benchmark of UltraEdit's claims: its verdicts on made numbers, its cells, and two tiny cells end to end."""

import dataclasses
import json
import math
import subprocess

import pytest
from _claims import assert_claims_have_rows_and_measures

from benchmarks.claims import jobs as jobs_module
from benchmarks.claims.claims import Asked, Claim, Comparison
from benchmarks.claims.command import run_cell
from benchmarks.claims.folders import plain_folder
from benchmarks.claims.results import Result, claim_folder, path_of, read_result, write_result
from benchmarks.claims.verdicts import as_markdown, joined, judged, verdict_of
from benchmarks.ultraedit_claims import contact_sheet, run
from benchmarks.ultraedit_claims.cells import CLAIMS, LAYOUT, Part, cells
from benchmarks.ultraedit_claims.datasets import pool_folder, write_part
from benchmarks.ultraedit_claims.settings import TAUGHT, Numbers
from evaluation.run import OUTPUTS
from models import registry
from pipeline.plan.manifest import load_manifest
from samples.shards import read_shards
from trainer.data import first_samples
from trainer.decode import Decoder
from zoo.evaluation.edits import MEASURES, EditScores, KindScores
from zoo.world import KINDS
from zoo.write_edit_dataset import main as write_exact

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers

TINY = Numbers(
    start="zoo:sd", base_pairs=4, region_pairs=4, steps=1, batch_size=2,
    training={"size_px": 64, "horizontal_flip": False}, num_cases=7, editing={"num_steps": 1, "guidance_scale": 1.0},
)  # fmt: skip


def scores(value, std=0.1):
    """Every measure of every kind has this value, of 100 edits."""
    every = dict.fromkeys(MEASURES, value)
    return EditScores({kind: KindScores(every, dict.fromkeys(MEASURES, std), dict.fromkeys(MEASURES, 100))
                       for kind in KINDS})  # fmt: skip


def results(cell, *values, task="free-form"):
    """One result a seed."""
    return [Result(cell, seed, {}, {task: scores(value)}, {}) for seed, value in enumerate(values)]


def compared(measure="read_back"):
    one = Comparison(
        text="a against b", measure=measure, better=(Asked("a", "free-form"),), worse=(Asked("b", "free-form"),)
    )
    return Claim("a is better", (one,))


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((0.10, 0.12, 0.11), "agrees"),
        ((-0.10, -0.12, -0.11), "disagrees"),
        ((0.10, -0.02, 0.04), "not clear"),
        ((0.05, 0.20, 0.30), "not clear"),
        ((0.0, 0.0, 0.0), "not clear"),
        ((0.10,), "not clear"),
        ((), "not clear"),
        ((math.nan, 0.1, 0.1), "not clear"),
    ],
)
def test_a_gain_is_clear_above_twice_its_spread(gains, expected):
    assert verdict_of(gains) == expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("agrees", "not clear"), "agrees"),
        (("disagrees", "not clear"), "disagrees"),
        (("agrees", "disagrees"), "not clear"),
        (("not clear", "not clear"), "not clear"),
    ],
)
def test_a_claim_agrees_where_no_comparison_disagrees(verdicts, expected):
    assert joined(verdicts) == expected


@pytest.mark.parametrize(("measure", "expected"), [("read_back", "agrees"), ("l1", "disagrees")])
def test_less_is_better_for_a_distance(measure, expected):
    found = judged(compared(measure), results("a", 0.5, 0.52) + results("b", 0.3, 0.31), TAUGHT)[0]
    assert found.verdict == expected
    assert found.reason.startswith("a against b +0.2050 ± 0.0071 over 2 seeds")


def test_only_seeds_that_have_both_rows_are_compared():
    found = judged(compared(), results("a", 0.5, 0.6) + results("b", 0.3), TAUGHT)[0]
    assert found.gains == pytest.approx((0.2,))
    assert judged(compared(), results("a", 0.5), TAUGHT)[0].reason == "a against b: not run"


def test_one_seed_says_whether_the_effect_can_be_seen():
    seen, lost = (judged(compared(), results("a", value) + results("b", 0.3), TAUGHT)[0] for value in (0.5, 0.301))
    assert "one seed, large enough to see" in seen.reason
    assert "one seed, within the error" in lost.reason
    assert seen.error == pytest.approx((2 * (0.1**2 / 300)) ** 0.5)


def test_gains_are_of_the_kinds_that_the_datasets_have():
    mixed = dict(scores(0.5).kinds) | {"add": scores(9.0).kinds["add"]}
    found = judged(compared(), [Result("a", 0, {}, {"free-form": EditScores(mixed)}, {}), *results("b", 0.3)], TAUGHT)[
        0
    ]
    assert found.gains == pytest.approx((0.2,))


def test_every_claim_compares_rows_that_cells_make():
    assert_claims_have_rows_and_measures(CLAIMS, cells(Numbers()), MEASURES)
    assert len(CLAIMS) == 4


def test_cells_that_are_compared_see_as_many_pairs():
    known = cells(Numbers())
    total = {name: sum(part.count for part in cell.parts) for name, cell in known.items()}
    assert {total[name] for name in ("free-form-alone", "region-alone", "mixed", "exact-mixed")} == {600}
    assert total["anchors-4x"] == total["no-anchors-4x"] == total["exact-4x"] == 4 * total["anchors-1x"]


def test_tables_name_every_row_and_every_claim():
    text = as_markdown(results("anchors-1x", 0.5, 0.6), {"copy the source": scores(0.0)}, LAYOUT)
    assert "| copy the source | 1 | 0.000 |" in text
    assert "| anchors-1x, free-form | 2 | 0.550 ± 0.071 |" in text
    assert text.count("not run") == sum(len(claim.comparisons) for claim in CLAIMS)


def test_a_result_of_other_numbers_is_not_mixed_in(tmp_path):
    write_result(tmp_path, Result("mixed", 0, TINY.as_json(), {"region": scores(0.5)}, {"training": 1.0}))
    assert read_result(tmp_path, "mixed", 0, TINY).tasks["region"].mean("l1") == 0.5
    assert read_result(tmp_path, "mixed", 1, TINY) is None
    with pytest.raises(ValueError, match=r"made with other numbers .*; name another --out"):
        read_result(tmp_path, "mixed", 0, dataclasses.replace(TINY, steps=2))


def keys_of(folder):
    dataset = read_shards(folder)
    return [one.key for one in first_samples(dataset, Decoder(size_px=64, required=("instruction",)), 99)]


def pool(out, name, count, *flags):
    write_exact([str(pool_folder(out, name)), "--count", str(count), "--samples-per-shard", "3", *flags])


def test_each_seed_has_its_own_part_of_a_pool(tmp_path):
    pool(tmp_path, "anchors", 5)
    whole = keys_of(pool_folder(tmp_path, "anchors"))
    for seed, wanted in enumerate((whole[:2], whole[2:4], [whole[4], whole[0]])):
        write_part(tmp_path / str(seed), tmp_path, Part("anchors", 2), seed)
        assert keys_of(tmp_path / str(seed)) == wanted
    with pytest.raises(ValueError, match="the pool anchors has 5 pairs, a cell needs 6"):
        write_part(tmp_path / "more", tmp_path, Part("anchors", 6), 0)


def test_pools_are_drawn_by_the_tiny_manifests(tmp_path, monkeypatch):
    from benchmarks.ultraedit_claims import datasets

    built = {}
    monkeypatch.setattr(datasets, "build", lambda manifest, _shards, out: built.update({out.name: manifest}))
    datasets.make_pools(tmp_path, dataclasses.replace(TINY, anchor_shards=1, region_shards=1))
    stages = {name: {entry.name: entry.stage for entry in load_manifest(path).stages} for name, path in built.items()}
    assert stages["anchors"]["synthesise_pair"].anchor == "source"
    assert stages["no-anchors"]["synthesise_pair"].anchor == "none"
    assert "synthesise_region" in stages["region"]
    assert all("emit" in one for one in stages.values())
    assert read_shards(pool_folder(tmp_path, "exact")).num_samples == 16
    assert read_shards(pool_folder(tmp_path, "exact-region")).num_samples == 4


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory):
    out = tmp_path_factory.mktemp("claims")
    pool(out, "anchors", 4)
    pool(out, "region", 4, "--regions")
    return out, {name: run_cell(run.BENCHMARK, name, 0, out, TINY) for name in ("anchors-1x", "mixed")}


def test_a_cell_is_scored_at_each_of_its_tasks(two_cells):
    out, found = two_cells
    assert list(found["anchors-1x"].tasks) == ["free-form"]
    assert list(found["mixed"].tasks) == ["free-form", "region"]
    for result in found.values():
        for one in result.tasks.values():
            assert set(one.kinds) == set(KINDS)
            assert one.mean("l1") > 0
        assert json.loads(path_of(out, result.cell, 0).read_text())["seed"] == 0


def test_given_regions_change_what_a_region_editor_makes(two_cells):
    found = two_cells[1]["mixed"].tasks
    assert found["free-form"] != found["region"]


def test_a_finished_cell_is_not_run_again(two_cells, monkeypatch):
    out, found = two_cells
    untrained = dataclasses.replace(run.BENCHMARK, train=None)
    assert run_cell(untrained, "mixed", 0, out, TINY) == found["mixed"]


def test_a_trained_cell_is_not_trained_again(two_cells, monkeypatch):
    out, found = two_cells
    path_of(out, "anchors-1x", 0).unlink()
    monkeypatch.setattr("trainer.loop.train", None)
    assert run_cell(run.BENCHMARK, "anchors-1x", 0, out, TINY).tasks == found["anchors-1x"].tasks


def test_the_table_trains_nothing(two_cells, capsys):
    out, _ = two_cells
    assert run.main(["--out", str(out), "--seeds", "0", "--table", "--numbers", json.dumps(TINY.as_json())]) == 0
    text = capsys.readouterr().out
    assert text == (out / "claims.md").read_text() + "\n"
    for name in ("copy the source", "ground truth", "anchors-1x, free-form", "mixed, region"):
        assert f"| {name} |" in text
    assert "one seed" in text
    assert set(json.loads((out / "claims.json").read_text())) == {"numbers", "rows", "seconds"}


def test_the_command_runs_what_is_missing_and_that_alone(tmp_path, monkeypatch, capsys):
    jobs = []

    def start(own, **_):
        jobs.append(own[own.index("--job") + 1])
        return subprocess.CompletedProcess(own, run.main(own[2:]))

    monkeypatch.setattr(jobs_module.subprocess, "run", start)
    for name in ("anchors", "no-anchors", "region", "exact", "exact-region"):
        pool(tmp_path, name, 4, "--regions")
    flags = ["--out", str(tmp_path), "--seeds", "0", "--numbers", json.dumps(TINY.as_json())]
    assert run.main([*flags, "--only", "region-alone"]) == 0
    assert "| region-alone, region | 1 |" in capsys.readouterr().out
    assert run.main([*flags, "--only", "region-alone"]) == 0
    assert jobs == ["region-alone"]


def test_a_cell_that_fails_is_named_and_the_others_run(two_cells, monkeypatch, capsys):
    out, _ = two_cells
    monkeypatch.setattr(run, "BENCHMARK", dataclasses.replace(run.BENCHMARK, make_data=lambda *_: None))
    flags = ["--out", str(out), "--seeds", "0", "--numbers", json.dumps(TINY.as_json())]
    monkeypatch.setattr(
        jobs_module.subprocess, "run", lambda own, **_: subprocess.CompletedProcess(own, run.main(own[2:]))
    )
    assert run.main([*flags, "--only", "exact-4x", "anchors-1x"]) == 1
    printed = capsys.readouterr()
    assert "1 cells failed; run the same command again: seed 0, exact-4x: ended with 1" in printed.err
    assert "| anchors-1x, free-form | 1 |" in printed.out


def test_other_numbers_than_those_of_the_folder_are_one_line(two_cells, capsys):
    out, _ = two_cells
    other = json.dumps(TINY.as_json() | {"steps": 2})
    assert run.main(["--out", str(out), "--seeds", "0", "--table", "--numbers", other]) == 1
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"stepps": 3}', "{", "[]"])
def test_numbers_that_are_none_are_refused(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(["--out", str(tmp_path), "--numbers", text])
    assert stopped.value.code == 2
    assert "--numbers" in capsys.readouterr().err


def test_the_sheet_shows_each_cell(two_cells, tmp_path):
    out, _ = two_cells
    assert contact_sheet.main([str(tmp_path / "sheet.png"), "--out", str(out)]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 5000
    assert contact_sheet.main([str(tmp_path / "sheet.png"), "--out", str(tmp_path)]) == 1


def test_the_sheet_has_a_column_of_a_ready_editor_that_has_run(tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheet, "EDITORS", {"ready editor": "zoo:sd", "not run": "zoo:sd"})
    outputs = plain_folder(tmp_path, "ready editor") / OUTPUTS
    outputs.mkdir(parents=True)
    assert contact_sheet.columns(tmp_path, 0) == {"ready editor": outputs}


def test_a_folder_of_other_numbers_or_weights_is_refused_without_results(tmp_path, monkeypatch):
    """Pools and trainings that were begun depend on them, too."""
    claim_folder(tmp_path / "out", TINY, ["zoo:clipseg"])
    claim_folder(tmp_path / "out", TINY, ["zoo:clipseg"])
    with pytest.raises(ValueError, match=r"numbers\.json was made with other numbers"):
        claim_folder(tmp_path / "out", dataclasses.replace(TINY, steps=2), ["zoo:clipseg"])
    of_now = registry.revision
    monkeypatch.setattr("models.registry.revision", lambda one: "x" if one == "zoo:clipseg" else of_now(one))
    with pytest.raises(ValueError, match="made with the weights of zoo:clipseg that are there now"):
        claim_folder(tmp_path / "out", TINY, ["zoo:clipseg"])
    monkeypatch.setattr("models.registry.revision", lambda _: "sha256:other")
    with pytest.raises(ValueError, match=f"made with the weights of {TINY.start} that are there now"):
        claim_folder(tmp_path / "out", TINY)
