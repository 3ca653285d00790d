"""The benchmark of UIP2P's claims: its cells, its data, and tiny cells end to end."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from _claims import assert_claims_have_rows_and_measures
from _datasets import samples_of

from benchmarks.claims.command import run_cell
from benchmarks.claims.results import Result
from benchmarks.claims.verdicts import as_markdown, judged
from benchmarks.uip2p_claims import contact_sheet, datasets, run
from benchmarks.uip2p_claims.cells import CLAIMS, LAYOUT, SESSIONS, SINGLE, STEPS, cells, of_steps
from benchmarks.uip2p_claims.settings import TAUGHT, Numbers
from pipeline.plan.manifest import load_manifest
from samples.shards import read_shards
from trainer.data import first_samples
from trainer.decode import Decoder
from zoo.dataset_shards import write_shards
from zoo.evaluation.edits import MEASURES, EditScores, KindScores
from zoo.evaluation.sessions import SESSION

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of diffusers' schedulers

TINY = Numbers(
    start="zoo:sd", edits_per_seed=3, num_seeds=2, steps=1, batch_size=2,
    training={"size_px": 64, "horizontal_flip": False}, num_cases=3, num_sessions=2, num_turns=2, num_cases_of_steps=3,
    editing={"num_steps": 1, "guidance_scale": 1.0},
)  # fmt: skip


def texts_of(folder):
    decoder = Decoder(size_px=64, required=("source_caption", "instruction", "target_caption"))
    return [tuple(one.values.values()) for one in first_samples(read_shards(folder), decoder, 99)]


def suffixes_of(folder):
    return {suffix for members in samples_of(folder) for suffix in members}


def test_every_claim_compares_rows_that_cells_make():
    assert_claims_have_rows_and_measures(CLAIMS, cells(Numbers()), MEASURES)


def test_cells_of_the_ablation_differ_in_their_losses_alone():
    known = cells(Numbers())
    off = {name: sorted(known[name].settings) for name in ("base", "base-sim", "uip2p")}
    assert off == {"base": ["lambda_attn", "lambda_sim"], "base-sim": ["lambda_attn"], "uip2p": []}
    assert {known[name].data for name in off} == {"no-targets"}


def test_data_of_uip2p_has_no_target_image(tmp_path):
    datasets.write_data(tmp_path / "none", tmp_path, "no-targets", 0, TINY)
    datasets.write_data(tmp_path / "exact", tmp_path, "exact", 0, TINY)
    assert suffixes_of(tmp_path / "none") == {"source.png", "json"}
    assert suffixes_of(tmp_path / "exact") == {"source.png", "target.png", "json"}
    assert texts_of(tmp_path / "none") == texts_of(tmp_path / "exact")


def test_each_seed_has_edits_of_its_own(tmp_path):
    for seed in (0, 1):
        datasets.write_data(tmp_path / str(seed), tmp_path, "exact", seed, TINY)
    assert not set(texts_of(tmp_path / "0")) & set(texts_of(tmp_path / "1"))
    with pytest.raises(ValueError, match="seed 2 has no edits of its own"):
        datasets.write_data(tmp_path / "2", tmp_path, "exact", 2, TINY)


def draw(out, keep):
    """As if the build had drawn those of all edits that `keep` accepts, by number."""
    samples = datasets.samples_of(datasets._order(TINY), with_regions=False)
    drawn = [(f"{key}-c0", members) for number, (key, members) in enumerate(samples) if keep(number)]
    write_shards(datasets.drawn_folder(out), "drawn", drawn, 2)


def test_drawn_pairs_of_a_seed_show_its_edits(tmp_path):
    draw(tmp_path, lambda number: number in (0, 2, 4))
    datasets.write_data(tmp_path / "exact", tmp_path, "exact", 0, TINY)
    datasets.write_data(tmp_path / "drawn", tmp_path, "drawn", 0, TINY)
    whole = texts_of(tmp_path / "exact")
    assert texts_of(tmp_path / "drawn") == [whole[0], whole[2]]


def test_a_seed_of_which_nothing_was_drawn_is_refused(tmp_path):
    draw(tmp_path, lambda number: number > 2)
    with pytest.raises(ValueError, match="no drawn pair of seed 0 passed the filter"):
        datasets.write_data(tmp_path / "drawn", tmp_path, "drawn", 0, TINY)


def test_pairs_are_drawn_from_the_captions_of_all_edits(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(datasets, "build", lambda *given: built.append(given))
    datasets.make_data(tmp_path, TINY)
    ((manifest, shards, out),) = built
    stages = {entry.name: entry.stage for entry in load_manifest(manifest).stages}
    assert stages["synthesise_pair"].anchor == "none"
    assert not stages["read_edit_triples"].require_target
    assert out == tmp_path / "drawn"
    lines = Path(shards).read_text().splitlines()
    assert {json.loads(line)["edit_type"] for line in lines} == set(TAUGHT)


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory):
    out = tmp_path_factory.mktemp("claims")
    return out, {name: run_cell(run.BENCHMARK, name, 0, out, TINY) for name in ("uip2p", "uip2p-clean")}


def test_a_cell_is_scored_at_each_of_its_tasks(two_cells):
    _, found = two_cells
    assert list(found["uip2p"].tasks) == [SINGLE, SESSIONS, *map(of_steps, STEPS)]
    assert list(found["uip2p-clean"].tasks) == [SINGLE, SESSIONS]
    assert set(found["uip2p"].tasks[SINGLE].kinds) == set(TAUGHT)
    assert set(found["uip2p"].tasks[SESSIONS].kinds) == {SESSION}
    for one in found["uip2p"].tasks.values():
        assert one.mean("l1", LAYOUT.judged_on) > 0
        assert not math.isnan(one.mean("clip_t", LAYOUT.judged_on))


def test_more_steps_give_other_images(two_cells):
    tasks = two_cells[1]["uip2p"].tasks
    assert tasks[of_steps(5)] != tasks[of_steps(50)]


def test_a_finished_cell_is_not_run_again(two_cells):
    out, found = two_cells
    untrained = dataclasses.replace(run.BENCHMARK, train=None)
    assert run_cell(untrained, "uip2p", 0, out, TINY) == found["uip2p"]


def test_the_table_has_the_source_at_both_tasks(two_cells, capsys):
    out, _ = two_cells
    assert run.main(["--out", str(out), "--seeds", "0", "--table", "--numbers", json.dumps(TINY.as_json())]) == 0
    text = capsys.readouterr().out
    for name in (
        "copy the source, single edits",
        "copy the source, sessions",
        "ground truth, sessions",
        "uip2p, 5 steps",
    ):
        assert f"| {name} |" in text
    assert "nan" not in text


def with_l1(*values):
    """A result a seed, whose tasks of 5 and 50 steps have these differences of l1."""

    def scores(l1):
        return EditScores({kind: KindScores({"l1": l1}, {"l1": 0.1}, {"l1": 9}) for kind in TAUGHT})

    return [
        Result("uip2p", seed, {}, {of_steps(5): scores(0.1 + value), of_steps(50): scores(0.1)}, {})
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((0.0, 0.0, 0.0), "agrees"), ((0.003, 0.0031, 0.0029), "agrees"), ((0.008, 0.0081, 0.0079), "disagrees")],
)
def test_a_claim_with_a_margin_allows_to_be_a_little_worse(differences, verdict):
    (claim,) = [one for one in CLAIMS if one.text.startswith("five steps")]
    found = judged(claim, with_l1(*differences), LAYOUT.judged_on)[0]
    assert found.verdict == verdict
    assert "margin 0.005" in found.reason


def test_every_claim_stands_in_the_table():
    text = as_markdown([], {}, LAYOUT)
    assert all(claim.text in text for claim in CLAIMS)


def test_the_sheet_has_a_column_of_each_cell_and_number_of_steps(two_cells, tmp_path):
    out, _ = two_cells
    shown = contact_sheet.columns(out, 0)
    assert {"uip2p", "uip2p-clean", *(f"uip2p, {of_steps(number)}" for number in STEPS)} <= set(shown)
    assert contact_sheet.main([str(tmp_path / "sheet.png"), "--out", str(out), "--count", "3"]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 5000
    assert contact_sheet.main([str(tmp_path / "sheet.png"), "--out", str(tmp_path)]) == 1
