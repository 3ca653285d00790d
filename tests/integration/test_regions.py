"""Regions by the miniature models on scenes of the world, whose true masks are known."""

import io
import random

import numpy as np
import pytest
from _inputs import table
from PIL import Image

from models import registry
from pipeline.context import Context
from samples.columns import REJECT_REASON
from samples.stored_images import mask_array
from stages.build_region import BuildRegion
from stages.choose_object import ChooseObject
from stages.ground_object import GroundObject
from stages.mask_object import MaskObject
from stages.segment_box import SegmentBox
from stages.tag_objects import TagObjects
from zoo.world import NOUNS, render, sample_edit, scene_of, thing_masks

NUM_SCENES = 24
SIDE = 64


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def changed(scene, other):
    """Where the things of a scene are that the other has not."""
    gone = [thing not in other.things for thing in scene.things]
    return thing_masks(scene, SIDE)[gone].any(0)


def mean_iou(pngs, truths):
    pairs = [(mask_array(png), truth) for png, truth in zip(pngs, truths, strict=True)]
    return np.mean([(mask & truth).sum() / (mask | truth).sum() for mask, truth in pairs])


@pytest.fixture(scope="module")
def edits():
    scenes = [scene_of(99, index) for index in range(NUM_SCENES)]
    return [sample_edit(scene, random.Random(n), "replace_noun") for n, scene in enumerate(scenes)]


@pytest.fixture(scope="module")
def rows(edits):
    return table(
        source_images=[[png(render(edit.source, SIDE))] for edit in edits],
        target_image=[png(render(edit.target, SIDE)) for edit in edits],
        instruction=[edit.instruction for edit in edits],
        source_caption=[edit.source_caption for edit in edits],
        target_caption=[edit.target_caption for edit in edits],
        source_phrase=[edit.source_phrase for edit in edits],
        target_phrase=[edit.target_phrase for edit in edits],
        edit_type=[edit.kind for edit in edits],
        width_px=[SIDE] * NUM_SCENES,
        height_px=[SIDE] * NUM_SCENES,
    )


def run(stage, rows):
    """The rows with the stage's columns, those that it rejects left out."""
    found = stage.open(Context(stage_name="test", loader=registry.load))(rows)
    if REJECT_REASON not in found.column_names:
        return found
    return found.filter(found[REJECT_REASON].is_null()).drop_columns([REJECT_REASON, "reject_detail"])


def test_the_region_of_an_edit_is_where_its_thing_is(rows, edits):
    found = run(ChooseObject(), rows)
    for stage in (GroundObject(model="zoo:grounding-dino"), SegmentBox(model="zoo:sam"), BuildRegion()):
        found = run(stage, found)
    own = rows["sample_id"].to_pylist()
    kept = [edits[own.index(one)] for one in found["sample_id"].to_pylist()]
    truths = [changed(edit.source, edit.target) for edit in kept]
    assert found.num_rows >= NUM_SCENES - 1
    assert mean_iou(found["core_mask_png"].to_pylist(), truths) > 0.9
    assert mean_iou(found["region_mask_png"].to_pylist(), truths) > 0.78  # a hull is wider than its thing
    assert mean_iou(found["box_mask_png"].to_pylist(), truths) < 0.75


def test_masks_of_phrases_by_boxes_are_where_the_things_are(rows, edits):
    found = run(MaskObject(detector="zoo:grounding-dino", segmenter="zoo:sam"), rows)
    assert mean_iou(found["source_mask_png"].to_pylist(), [changed(e.source, e.target) for e in edits]) > 0.85
    assert mean_iou(found["target_mask_png"].to_pylist(), [changed(e.target, e.source) for e in edits]) > 0.85


def test_one_of_the_surest_tags_is_on_the_image(rows, edits):
    stage = TagObjects(model="zoo:clip", words=tuple(NOUNS), lexicon=None, threshold=-1, max_tags=3)
    found = run(stage, rows)["object_tags"].to_pylist()
    things = [{thing.noun for thing in edit.source.things} for edit in edits]
    assert np.mean([bool(nouns & set(tags)) for tags, nouns in zip(found, things, strict=True)]) > 0.9
    assert all(len(tags) == 3 for tags in found)
