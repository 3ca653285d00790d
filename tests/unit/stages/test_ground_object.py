"""Boxes of the things that an edit changes: what is asked, what is dropped."""

import numpy as np
from _inputs import jpeg, table

from models.protocols import Detections
from pipeline.context import Context
from samples.columns import REJECT_DETAIL, REJECT_REASON
from stages.ground_object import GroundObject


class Finder:
    """Finds every car, twice. It keeps the requests of each call."""

    def __init__(self):
        self.calls = []

    def detect(self, images, phrases, *, threshold):
        self.calls.append((list(phrases), threshold))
        car = Detections(np.array([[1, 2, 9, 9], [1, 2, 9, 9.5]], np.float32), np.array([0.8, 0.7]), ("car", "car"))
        none = Detections(np.zeros((0, 4), np.float32), np.zeros(0), ())
        return [car if "car" in asked else none for asked in phrases]


def grounded(finder, objects, **settings):
    ctx = Context(stage_name="ground_object", loader=lambda *_: finder)
    rows = table(source_images=[[jpeg(n)] for n in range(len(objects))], edit_objects=objects)
    return GroundObject(model="zoo:grounding-dino", **settings).open(ctx)(rows).to_pylist()


def test_a_batch_is_one_call_with_the_things_of_each_row():
    finder = Finder()
    rows = grounded(finder, [["car"], ["dog", "car"], []], threshold=0.4)
    assert finder.calls == [([["car"], ["dog", "car"], []], 0.4)]
    assert [row["object_box_phrases"] for row in rows] == [["car"], ["car"], []]
    assert rows[0]["object_boxes"] == [[1, 2, 9, 9]]
    assert rows[0]["object_box_scores"] == [np.float32(0.8)]


def test_overlapping_boxes_stay_where_all_are_wanted():
    (row,) = grounded(Finder(), [["car"]], max_iou=1)
    assert len(row["object_boxes"]) == 2


def test_only_a_row_that_names_things_needs_a_box():
    rows = grounded(Finder(), [["dog", "cat"], [], None, ["car"]])
    assert [row[REJECT_REASON] for row in rows] == ["no_box", None, None, None]
    assert rows[0][REJECT_DETAIL] == "dog, cat"
