"""Candidates by an editor, judged, paired, counted, exported: the stages of one dataset, one after another."""

import json
import os
import subprocess

import pyarrow.parquet as pq
import pytest
from _builds import EDITLOOM, ROOT, build, tars

from zoo.write_published import main

COUNT, WANTED = 10, 3
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CHAIN = f"""
name = "judged-preferences"
[stated_licences]
input = "cc-by-4.0"
models = {{ "code:zoo.judging.world_judge:WorldJudge" = "apache-2.0" }}
[[stage]]
use = "read_edit_triples"
rows_per_shard = 4
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
format = "png"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "synthesise_edit"
model = "zoo:ip2p"
num_candidates = 2
editor = {{ num_steps = 3, guidance_scale = 1.5, image_guidance_scale = 1.2 }}
[[stage]]
use = "score_edit"
encoder = "zoo:clip"
[[stage]]
use = "judge_edit"
model = "code:zoo.judging.world_judge:WorldJudge"
[[stage]]
use = "pair_preferences"
by = "pair_direction_cos"
[[stage]]
use = "attach_rejected"
[[stage]]
use = "take_rows"
target_rows = {WANTED}
[[stage]]
use = "emit"
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """(folder of edits, manifest)."""
    folder = tmp_path_factory.mktemp("edits")
    assert main([str(folder / "in"), "--layout", "ultraedit", "--count", str(COUNT), "--seed", "4"]) == 0
    (folder / "chain.toml").write_text(CHAIN)
    return folder / "in", folder / "chain.toml"


@pytest.fixture(scope="module")
def built(inputs, tmp_path_factory):
    """(summary of the build, run folder)."""
    out = tmp_path_factory.mktemp("judged") / "out"
    code, summary, printed = build(
        out, "--executor", "inprocess", shards=inputs[0], manifest=inputs[1], env=ENVIRONMENT
    )
    assert code == 0, printed[-2000:]
    return summary, out


def command(*parts):
    done = subprocess.run([EDITLOOM, *parts], cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_dataset_has_the_wanted_pairs_with_all_their_scores(built):
    summary, out = built
    assert summary["quota"]["rows"] == WANTED
    rows = pq.read_table(out / "dataset/samples.parquet").to_pylist()
    assert len(rows) == WANTED
    for row in rows:
        assert row["rejected_id"] != row["sample_id"]
        assert row["preference_margin"] == pytest.approx(row["preference_score"] - row["rejected_score"], abs=1e-6)
        assert row["preference_score"] == row["pair_direction_cos"]
        assert row["edit_model"] == "zoo:ip2p"
        assert row["judge_status"] in ("parsed", "unparsed")
        assert (row["judge_score"] is None) == (row["judge_status"] != "parsed")
    for stage in summary["stages"]:
        assert stage["rows_in"] == stage["rows_kept"] + sum(stage["rejects"].values())


def test_workers_give_the_same_tars(inputs, built, tmp_path):
    code, _, printed = build(tmp_path / "out", "--workers", "2", shards=inputs[0], manifest=inputs[1], env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    assert tars(tmp_path / "out") == tars(built[1])


def test_licence_counts_the_editor_and_not_the_encoder(built):
    verdict = json.loads(command("licence", str(built[1] / "dataset"), "--json"))
    text = json.dumps(verdict)
    assert "zoo:ip2p" in text
    assert verdict["verdict"] == "attribution"


@pytest.mark.parametrize("layout", ["huggingface", "diffusers-dpo", "editreward", "ai-toolkit"])
def test_dataset_is_exported(built, tmp_path, layout):
    command("export", str(built[1] / "dataset"), "--to", layout, "--out", str(tmp_path / layout))
    tables = sorted((tmp_path / layout).rglob("*.parquet"))
    if tables:
        assert sum(pq.read_metadata(table).num_rows for table in tables) == WANTED
    else:
        assert len(list((tmp_path / layout / "target").rglob("*.png"))) == WANTED
