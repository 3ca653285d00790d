"""The tiny manifest of preference pairs in very small: pairs with both edits, every row counted, the same bytes."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from _builds import build, tars

from samples.shards import read_shards
from samples.stored_images import rgb_image
from trainer.data import first_samples
from trainer.decode import Decoder
from zoo.dataset_shards import read_samples
from zoo.write_world import main as write_world

ROOT = Path(__file__).resolve().parents[2]
NUM_SHARDS, SCENES_PER_SHARD, NUM_CANDIDATES = 2, 3, 4
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    flags = ["--shards", str(NUM_SHARDS), "--scenes-per-shard", str(SCENES_PER_SHARD), "--seed", "5"]
    assert write_world([str(folder), *flags, "--captions", "canonical", "--max-things", "1", "--plain"]) == 0
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The tiny manifest with few steps, without bounds, and with any margin."""
    text = (ROOT / "manifests" / "tiny" / "preferences.toml").read_text()
    text = text.replace("num_steps = [10]", "num_steps = [3]").replace("min_margin = 0.1\n", "min_margin = 0.0\n")
    lines = [line for line in text.splitlines() if not line.startswith("bounds.")]
    path = tmp_path_factory.mktemp("manifest") / "preferences.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def built(world, manifest, tmp_path_factory):
    """(summary of the build, run folder)."""
    out = tmp_path_factory.mktemp("preferences") / "out"
    code, summary, printed = build(out, "--executor", "inprocess", shards=world, manifest=manifest, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    return summary, out


def test_every_candidate_is_kept_or_counted_as_a_reject(built):
    summary, out = built
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    for stage in summary["stages"]:
        assert stage["rows_in"] == stage["rows_kept"] + sum(stage["rejects"].values())
    pairs, edits = stages["pair_preferences"], stages["synthesise_region"]["rows_in"]
    assert pairs["rows_in"] == NUM_CANDIDATES * edits > 0
    assert pairs["notes"]["groups that gave a pair"] == pairs["rejects"]["rejected_of_pair"] == pairs["rows_kept"] > 2
    assert pq.read_table(out / "dataset" / "samples.parquet").num_rows == stages["emit"]["rows_out"]


def test_a_sample_has_both_edits_and_their_scores(built):
    samples = dict(read_samples(built[1] / "dataset"))
    assert len(samples) > 2
    for own, members in samples.items():
        known = json.loads(members["json"])
        assert {"source.png", "target.png", "rejected.png", "region_mask.png"} <= set(members)
        assert known["rejected_id"] != own
        assert known["rejected_id"].rpartition("-c")[0] == own.rpartition("-c")[0] == known["parent_id"]
        assert known["preference_score"] == known["target_caption_cos"] > known["rejected_score"]
        images = [rgb_image(members[f"{role}.png"]) for role in ("source", "target", "rejected")]
        assert len({image.tobytes() for image in images}) == len(images)


def test_more_workers_pair_the_same_candidates_to_the_same_tars(built, world, manifest, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built[1], out)
    again = ("pair_preferences", "attach_rejected", "emit")
    for folder in [out / "dataset", *(one for name in again for one in (out / "stages").glob(f"{name}-*"))]:
        shutil.rmtree(folder)
    flags = ("--executor", "processes", "--workers", "2")
    code, summary, printed = build(out, *flags, shards=world, manifest=manifest, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    assert {stage["stage"] for stage in summary["stages"] if stage["cached"] < stage["total"]} == set(again)
    assert tars(out) == tars(built[1])


def test_a_training_can_read_the_rejected_edit_as_a_column(built):
    decoder = Decoder(size_px=64, required=("source_images", "target_image", "rejected_image"))
    for sample in first_samples(read_shards(built[1] / "dataset"), decoder, 3):
        chosen, rejected = (sample.values[name] for name in ("target_image", "rejected_image"))
        assert chosen.shape == rejected.shape
        assert (chosen != rejected).any()
