"""Masks of areas with detail: which labels, scores and sizes count, and a language model that is asked about labels."""

import io

import numpy as np
import pytest
from _inputs import jpeg, table
from PIL import Image

from models import registry
from models.protocols import Segments
from pipeline.context import Context
from samples.stored_images import mask_array
from stages.mask_selective_area import MaskSelectiveArea
from stages.regions.details import DETAILED, DetailLabels, detail_prompt, names_of
from zoo.world import NOUNS, panoptic, render, scene_of


class Quarters:
    """Four segments of 30, 30, 30 and 1 columns of an image 96 wide, and no segment on the rest."""

    labels = ("person", "Sky-Other-Merged", "person", "dog")
    scores = (0.9, 0.9, 0.6, 0.9)

    def segment_panoptic(self, images):
        found = []
        for image in images:
            segment_HW = np.full((image.height, image.width), -1, np.int32)
            for number, (start, stop) in enumerate([(0, 30), (30, 60), (60, 90), (90, 91)]):
                segment_HW[:, start:stop] = number
            found.append(Segments(segment_HW, self.labels, self.scores))
        return found


class Particular:
    """Says of each thing what its script has for it, and keeps the things."""

    def __init__(self, **script):
        self.script, self.asked = script, []

    def generate(self, prompts, *, max_new_tokens):
        things = [prompt.rpartition("Thing: ")[2].removesuffix("\nAnswer:") for prompt in prompts]
        self.asked += things
        return [self.script.get(thing, "maybe") for thing in things]


def masked(segmenter, images, writer=None, **settings):
    models = {"PanopticSegmenter": segmenter, "TextGenerator": writer}
    ctx = Context(stage_name="test", loader=lambda protocol, *_: models[protocol])
    rows = MaskSelectiveArea(model="zoo:mask2former", **settings).open(ctx)(table(target_image=images))
    masks = [mask_array(png.as_py()) for png in rows["selective_mask_png"]]
    return masks, rows["selective_frac"].to_pylist(), rows["selective_labels"].to_pylist()


def columns_inside(mask_HW):
    assert (mask_HW == mask_HW[0]).all()
    return set(np.flatnonzero(mask_HW[0]))


@pytest.mark.parametrize(
    ("settings", "columns", "labels"),
    [
        ({}, {*range(30), *range(60, 91)}, ["dog", "person"]),
        ({"min_frac": 0.02}, {*range(30), *range(60, 90)}, ["person"]),
        ({"min_score": 0.7}, {*range(30), 90}, ["dog", "person"]),
        ({"labels": ("SKY",)}, set(range(30, 60)), ["Sky-Other-Merged"]),
        ({"labels": ("cat",)}, set(), []),
        ({"labels": ()}, set(), []),
    ],
)
def test_mask_is_the_union_of_the_segments_that_count(settings, columns, labels):
    ((mask_HW,), (frac,), (found,)) = masked(Quarters(), [jpeg(1)], **settings)
    assert mask_HW.shape == (80, 96)
    assert columns_inside(mask_HW) == columns
    assert frac == pytest.approx(len(columns) / 96)
    assert found == labels


def test_label_that_covers_no_pixel_is_not_listed():
    class Hidden(Quarters):
        labels, scores = (*Quarters.labels, "cat"), (*Quarters.scores, 0.9)

    assert masked(Hidden(), [jpeg(1)], min_frac=0.0)[2] == [["dog", "person"]]


def test_language_model_decides_and_the_list_where_it_does_not_answer():
    writer = Particular(sky=" Yes.", person="No, faces", dog=" perhaps")
    masks, _, labels = masked(Quarters(), [jpeg(1), jpeg(2)], writer, language_model="zoo:llm")
    assert labels == [["Sky-Other-Merged", "dog"]] * 2
    assert columns_inside(masks[0]) == {*range(30, 60), 90}
    assert writer.asked == ["person", "sky", "dog"]


def test_each_label_is_asked_about_once_in_a_worker():
    writer = Particular(cat="yes")
    details = DetailLabels((), writer)
    assert details.chosen(["cat", "wall", "cat"]) == {"cat"}
    assert details.chosen(["wall", "cat", "clock"]) == {"cat"}
    assert writer.asked == ["cat", "wall", "clock"]


def test_question_is_put_after_examples_of_both_answers():
    lines = detail_prompt("Paper-Merged").splitlines()
    assert lines[-2:] == ["Thing: paper", "Answer:"]
    assert {"Answer: yes", "Answer: no"} < set(lines)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("Person", {"person"}),
        ("stop_sign", {"stop sign"}),
        ("food-other-merged", {"food-other-merged", "food"}),
        ("door-stuff", {"door-stuff", "door"}),
        ("water-other", {"water-other", "water"}),
        ("wall-brick", {"wall-brick"}),
        ("person, individual, someone", {"person, individual, someone", "person", "individual", "someone"}),
    ],
)
def test_a_label_is_meant_by_its_plain_names(label, names):
    assert names_of(label) == names


def test_near_labels_are_not_mistaken_for_listed_ones():
    labels = ["hot dog", "dog", "teddy bear", "keyboard", "wall-brick", "mouse", "PAPER-merged", "bookshelf"]
    assert DetailLabels(DETAILED).chosen(labels) == {"dog", "teddy bear", "keyboard", "PAPER-merged"}


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_miniature_segmenter_masks_the_things_of_the_world():
    scenes = [scene_of(77, number) for number in range(12)]
    segmenter = registry.load("PanopticSegmenter", "zoo:mask2former")
    masks, fracs, labels = masked(segmenter, [png(render(scene)) for scene in scenes], labels=NOUNS)
    ious = []
    for scene, mask_HW in zip(scenes, masks, strict=True):
        truth_HW = panoptic(scene)[0] >= 2
        ious.append((mask_HW & truth_HW).sum() / (mask_HW | truth_HW).sum())
    assert np.mean(ious) > 0.8, ious
    assert fracs == pytest.approx([mask_HW.mean() for mask_HW in masks])
    named = [{thing.noun for thing in scene.things} == set(found) for scene, found in zip(scenes, labels, strict=True)]
    assert np.mean(named) >= 0.75


def test_scene_without_a_listed_thing_has_an_empty_mask():
    scenes = (scene_of(77, number) for number in range(99))
    scene = next(scene for scene in scenes if not {thing.noun for thing in scene.things} & set(DETAILED))
    segmenter = registry.load("PanopticSegmenter", "zoo:mask2former")
    (mask_HW,), fracs, labels = masked(segmenter, [png(render(scene))])
    assert (mask_HW.any(), fracs, labels) == (False, [0.0], [[]])
