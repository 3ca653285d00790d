"""UltraEdit's two recipes in very small: every row counted, members in place, and a kill that changes no byte."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from _builds import build, command, tars
from _datasets import samples_of
from _records import num_records

from samples.stored_images import mask_array, rgb_image
from zoo.dataset_shards import read_samples
from zoo.write_world import main as write_world

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {"ultraedit": "synthesise_pair", "ultraedit-region": "synthesise_region"}
NUM_SHARDS, SCENES_PER_SHARD = 3, 4
IN_PROCESS = ("--executor", "inprocess")
MEMBERS = {"anchor.png", "source.png", "target.png", "json"}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    flags = ["--shards", str(NUM_SHARDS), "--scenes-per-shard", str(SCENES_PER_SHARD), "--seed", "5"]
    assert write_world([str(folder), *flags, "--captions", "canonical", "--max-things", "1", "--plain"]) == 0
    return folder


def small(recipe, folder):
    """The tiny manifest with fewer steps, and bounds that few steps can pass."""
    text = (ROOT / "manifests" / "tiny" / f"{recipe}.toml").read_text()
    text = text.replace("num_steps = [10]", "num_steps = [4]").replace("keep = 1\n", "keep = 2\n")
    text = re.sub(r"^(bounds\.\w+_caption_cos = \{ min =) 0\.\d+", r"\1 0.55", text, flags=re.MULTILINE)
    path = folder / f"{recipe}.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def built(world, tmp_path_factory):
    """Recipe -> (its manifest, summary of the build, run folder)."""
    found = {}
    for recipe in RECIPES:
        folder = tmp_path_factory.mktemp(recipe)
        manifest = small(recipe, folder)
        code, summary, printed = build(folder / "out", *IN_PROCESS, shards=world, manifest=manifest, env=ENVIRONMENT)
        assert code == 0, printed[-2000:]
        found[recipe] = manifest, summary, folder / "out"
    return found


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_row_is_kept_or_counted_as_a_reject(built, recipe):
    _, summary, out = built[recipe]
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    for stage in summary["stages"]:
        assert stage["rows_in"] == stage["rows_kept"] + sum(stage["rejects"].values())
    assert stages["read_webdataset"]["rows_in"] == NUM_SHARDS * SCENES_PER_SHARD
    assert pq.read_table(out / "dataset" / "samples.parquet").num_rows == stages["emit"]["rows_out"] > 5


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_has_its_anchor_beside_its_pair(built, recipe):
    masks = {"region_mask.png", "soft_mask.png"} if recipe == "ultraedit-region" else set()
    for own, members in read_samples(built[recipe][2] / "dataset"):
        assert set(members) == MEMBERS | masks
        known = json.loads(members["json"])
        assert own.startswith(known["anchor_id"])
        assert known["instruction"]
        assert known["reverse_instruction"]
        assert known["pair_direction_cos"] >= 0.22


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_candidate_of_an_edit_is_recorded_once(built, recipe):
    rows = [json.loads(members["json"]) for members in samples_of(built[recipe][2] / "dataset")]
    for row in rows:
        recorded = row.get("candidates")
        siblings = [one["candidate_number"] for one in rows if one["parent_id"] == row["parent_id"]]
        assert bool(recorded) == (row["candidate_number"] == min(siblings))
        if recorded:
            assert [one["number"] for one in recorded] == list(range(1, len(recorded) + 1))
            assert sum(one["is_kept"] for one in recorded) == len(siblings)


def test_a_pair_is_the_same_outside_of_its_region(built):
    for members in samples_of(built["ultraedit-region"][2] / "dataset"):
        source, target = (np.asarray(rgb_image(members[name])) for name in ("source.png", "target.png"))
        outside = ~mask_array(members["region_mask.png"])
        assert (source[outside] == target[outside]).all()
        assert (source != target).any()


def test_a_killed_build_resumes_to_the_same_tars(world, built, tmp_path):
    recipe = "ultraedit-region"  # all models of the other recipe are in it
    manifest, _, whole = built[recipe]
    line = command(tmp_path, *IN_PROCESS, shards=world, manifest=manifest)
    process = subprocess.Popen(line, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not num_records(tmp_path, RECIPES[recipe]) and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)  # into the pairs of the next shard
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    before = num_records(tmp_path)
    code, summary, printed = build(tmp_path, *IN_PROCESS, shards=world, manifest=manifest, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    synthesis = next(stage for stage in summary["stages"] if stage["stage"] == RECIPES[recipe])
    assert 0 < synthesis["cached"] < NUM_SHARDS
    assert before < num_records(tmp_path)
    assert tars(tmp_path) == tars(whole)
