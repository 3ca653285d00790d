"""Masks of phrases by boxes: which phrase goes to which image, and images without a box."""

import numpy as np
import pytest
from _inputs import jpeg, table

from models.protocols import BoxMasks, Detections
from pipeline.context import Context
from samples.stored_images import mask_array
from stages.mask_object import MaskObject
from stages.regions.shapes import filled_boxes


class LeftAndRight:
    """Finds a car at the left and at the right edge. It keeps the requests; its masks are its boxes."""

    def __init__(self):
        self.asked = []

    def detect(self, images, phrases, *, threshold):
        self.asked += [(tuple(asked), threshold) for asked in phrases]
        boxes = np.array([[0, 0, 24, 80], [72, 0, 96, 80]], np.float32)
        return [
            Detections(boxes, np.array([0.9, 0.8]), ("car", "car"))
            if "car" in asked
            else Detections(np.zeros((0, 4), np.float32), np.zeros(0), ())
            for asked in phrases
        ]

    def segment_boxes(self, images, boxes_BN4):
        self.calls = [len(boxes) for boxes in boxes_BN4]
        return [
            BoxMasks(np.array([filled_boxes([box], *image.size[::-1]) for box in boxes]), np.ones(len(boxes)))
            for image, boxes in zip(images, boxes_BN4, strict=True)
        ]


def masked(model, rows, **settings):
    ctx = Context(stage_name="mask_object", loader=lambda *_: model)
    return MaskObject(detector="zoo:grounding-dino", segmenter="zoo:sam", **settings).open(ctx)(rows)


def test_each_image_is_masked_by_its_own_phrase():
    model = LeftAndRight()
    rows = table(
        source_images=[[jpeg(1)], [jpeg(2)]], target_image=[jpeg(3), jpeg(2)], source_phrase=["car", None],
        target_phrase=["bus", "car"],
    )  # fmt: skip
    found = masked(model, rows, threshold=0.4)
    assert model.asked == [(("car",), 0.4), ((), 0.4), (("bus",), 0.4), (("car",), 0.4)]
    assert model.calls == [2, 2]
    assert found["source_mask_frac"].to_pylist() == pytest.approx([0.5, 0])
    assert found["target_mask_frac"].to_pylist() == pytest.approx([0, 0.5])
    mask_HW = mask_array(found["source_mask_png"][0].as_py())
    assert mask_HW.shape == (80, 96)
    assert mask_HW[:, :24].all()
    assert not mask_HW[:, 24:72].any()


def test_the_most_boxes_are_the_surest():
    rows = table(source_images=[[jpeg(1)]], target_image=[jpeg(3)], source_phrase=["car"], target_phrase=["car"])
    assert masked(LeftAndRight(), rows, max_boxes=1)["source_mask_frac"].to_pylist() == pytest.approx([0.25])
