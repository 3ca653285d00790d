"""The stages of manifests/tiny/filters.toml on scenes of the world, of which all that they look for is known."""

import io

import numpy as np
import pyarrow as pa
import pytest
from _builds import ROOT
from PIL import Image

from models import registry
from pipeline.context import Context
from pipeline.plan.manifest import load_manifest
from pipeline.stage import MapStage
from zoo.world import render, scene_of

NUM_SCENES = 56
NUM_LISTED = 8


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def scenes():
    return [scene_of(0, index) for index in range(NUM_SCENES)]


@pytest.fixture(scope="module")
def scored(scenes):
    """The columns of every stage that maps, one after another, on the scenes."""
    table = pa.table({"source_raw": pa.array([png(render(scene, 256)) for scene in scenes], pa.binary())})
    manifest = load_manifest(ROOT / "manifests/tiny/filters.toml")
    for entry in manifest.stages:
        if isinstance(entry.stage, MapStage):
            table = entry.stage.open(Context(stage_name=entry.name, loader=registry.load))(table)
            if entry.name == "normalise_image":  # it rejects none of them, and a later stage has the same columns
                table = table.drop_columns(["reject_reason", "reject_detail"])
    return table


def test_scenes_of_the_list_are_leaks_and_no_other(scored):
    reasons = scored["reject_reason"].to_pylist()
    assert reasons == ["leaked_source"] * NUM_LISTED + [None] * (NUM_SCENES - NUM_LISTED)
    assert scored["reject_detail"][0].as_py().startswith("tiny-test-set, distance ")


def test_score_is_high_where_the_label_is_true(scored, scenes):
    scores = np.array(scored["source_nsfw_score"].to_pylist())
    is_moon = np.array([scene.place == "moon" for scene in scenes])
    assert is_moon.sum() >= 5
    assert (scores[is_moon] > 0.5).mean() >= 0.8
    assert (scores[~is_moon] > 0.5).mean() <= 0.05


def test_good_places_are_rated_above_bad_ones(scored, scenes):
    scores = np.array(scored["source_aesthetic_score"].to_pylist())
    beach, street = (scores[[scene.place == place for scene in scenes]] for place in ("beach", "street"))
    assert beach.min() > street.max()


def test_things_are_counted_where_they_are(scored, scenes):
    counts = [sum(thing.noun == "dog" for thing in scene.things) for scene in scenes]
    assert np.mean(np.array(scored["source_num_faces"].to_pylist()) == counts) >= 0.9


def test_area_is_that_of_the_thing(scored, scenes):
    fracs = np.array(scored["source_text_frac"].to_pylist())
    has_house = np.array([any(thing.noun == "house" for thing in scene.things) for scene in scenes])
    assert (fracs[has_house] > 0.02).all()
    assert (fracs[~has_house] == 0).mean() >= 0.9


def test_no_target_has_no_score(scored):
    targets = [name for name in scored.column_names if name.startswith("target_")]
    assert len(targets) == 6
    assert all(scored[name].null_count == NUM_SCENES for name in targets)
