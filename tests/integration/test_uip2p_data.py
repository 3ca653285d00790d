"""UIP2P's data in very small: texts of edits with their way back beside the source image, and no target image."""

import json
import os
import re
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from _builds import build

from samples.stored_images import rgb_image
from zoo.dataset_shards import read_samples
from zoo.world import KINDS, render, scene_of
from zoo.world.judge import fault_of
from zoo.write_edits import EditOrder
from zoo.write_published import main as write_published
from zoo.write_world import main as write_world

RECIPES = ("uip2p", "uip2p-triples")
SCENES, WORLD_SEED = 6, 5
COUNT, EDITS_SEED = 12, 4
EDITS_PER_CAPTION = 4
TEXTS = ("caption", "source_caption", "instruction", "target_caption", "reverse_instruction")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def write_scenes(folder):
    flags = ["--shards", "1", "--scenes-per-shard", str(SCENES), "--seed", str(WORLD_SEED)]
    assert write_world([str(folder), *flags, "--captions", "canonical", "--max-things", "2", "--plain"]) == 0


def write_triples(folder):
    """Folders of pairs whose edited images cannot be decoded or are not there."""
    flags = ["--layout", "instruct-pix2pix", "--count", str(COUNT), "--seed", str(EDITS_SEED)]
    assert write_published([str(folder), *flags]) == 0
    for number, path in enumerate(sorted(folder.glob("*/*_1.jpg"))):
        if number % 2:
            path.unlink()
        else:
            path.write_bytes(b"no image")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Recipe -> (stages of the summary by name, dataset)."""
    found = {}
    for recipe, write in zip(RECIPES, (write_scenes, write_triples), strict=True):
        folder = tmp_path_factory.mktemp(recipe)
        write(folder / "in")
        manifest, flags = f"manifests/tiny/{recipe}.toml", ("--executor", "inprocess")
        code, summary, printed = build(folder / "out", *flags, shards=folder / "in", manifest=manifest, env=ENVIRONMENT)
        assert code == 0, printed[-2000:]
        found[recipe] = {stage["stage"]: stage for stage in summary["stages"]}, folder / "out" / "dataset"
    return found


def samples_of(dataset):
    """Members by suffix, of each sample in order; of the JSON its content."""
    return [{**members, "json": json.loads(members["json"])} for _, members in read_samples(dataset)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_has_its_source_five_texts_and_no_target(built, recipe):
    samples = samples_of(built[recipe][1])
    assert len(samples) == built[recipe][0]["emit"]["rows_out"] > SCENES
    for members in samples:
        assert set(members) == {"source.png", "json"}
        assert [name for name in TEXTS if not members["json"].get(name, "").strip()] == []
        assert members["json"]["instruction"] != members["json"]["reverse_instruction"]


def test_a_caption_has_no_more_edits_than_asked_for(built):
    stages, dataset = built["uip2p"]
    counts = Counter(members["json"]["parent_id"] for members in samples_of(dataset))
    assert len(counts) == stages["write_edits"]["rows_in"] == SCENES
    assert 1 < max(counts.values()) <= EDITS_PER_CAPTION


def test_edits_of_a_scene_and_their_reverse_are_consistent(built):
    records = [members["json"] for members in samples_of(built["uip2p"][1])]
    names = ("edit_type", "instruction", "target_caption", "reverse_instruction")
    answers = [{"object": record["edit_object"], **{name: record[name] for name in names}} for record in records]
    faults = [fault_of(record["source_caption"], answer) for record, answer in zip(records, answers, strict=True)]
    assert sum(fault is not None for fault in faults) <= 1  # of 1,779 two have one


def test_edits_of_one_scene_have_its_image(built):
    for members in samples_of(built["uip2p"][1]):
        known = json.loads(members["json"]["source_metadata"])
        image = np.asarray(rgb_image(members["source.png"]))
        assert (image == render(scene_of(known["world_seed"], known["world_index"]))).all()


def test_triples_are_kept_whatever_their_edited_images_are(built):
    stages, dataset = built["uip2p-triples"]
    assert stages["normalise_image"]["rows_out"] == COUNT
    assert set(stages["write_reverse"]["rejects"]) <= {"no_rule"}
    edits = {edit.instruction: edit for _, edit in EditOrder(COUNT, 0, KINDS, world_seed=EDITS_SEED).edits()}
    for members in samples_of(dataset):
        record = members["json"]
        edit = edits[record["instruction"]]
        assert [record["source_caption"], record["target_caption"]] == [edit.source_caption, edit.target_caption]
        assert record["reverse_writer"] == "rule"


@pytest.mark.parametrize("recipe", RECIPES)
def test_pages_say_that_there_is_no_target_image(built, recipe):
    dataset = built[recipe][1]
    card, report = ((dataset / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert re.findall(r"^\| `<sample_id>\.(\S+)` \|", card, re.MULTILINE) == ["source.png", "json"]
    assert "There is no target image." in card
    assert "There is no target image:" in report
    payload = json.loads(re.search(r'id="payload">(.*?)</script>', report, re.DOTALL)[1])
    assert {role for sample in payload["samples"] for role, _ in sample["images"]} == {"source"}
    assert "target_image" not in pq.read_schema(dataset / "samples.parquet").names
