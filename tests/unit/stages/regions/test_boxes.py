"""Boxes and masks of named things: which are kept, and that a shared image is looked at once."""

import numpy as np
import pytest
from _inputs import jpeg

from models.protocols import BoxMasks, Detections
from stages.regions.boxes import find_boxes, segment_boxes, shared_images, without_overlap

BOXES = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10], [0, 0, 5, 10]], np.float32)


def iou(one, other):
    """The plain definition over unit squares."""
    squares = [{(x, y) for x in range(int(b[0]), int(b[2])) for y in range(int(b[1]), int(b[3]))} for b in (one, other)]
    return len(squares[0] & squares[1]) / len(squares[0] | squares[1])


@pytest.mark.parametrize(("max_iou", "kept"), [(0.91, [1, 2, 0, 3]), (0.89, [1, 2, 3]), (0.39, [1, 2])])
def test_the_surer_of_two_boxes_that_overlap_stays(max_iou, kept):
    assert (iou(BOXES[0], BOXES[1]), iou(BOXES[1], BOXES[3])) == (0.9, 0.4)
    assert without_overlap(BOXES, np.array([0.6, 0.9, 0.8, 0.5]), max_iou) == kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_that_of_torchvision(seed):
    torch = pytest.importorskip("torch")
    from torchvision.ops import nms

    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (60, 2))
    boxes = np.concatenate([corners, corners + rng.integers(5, 30, (60, 2))], 1).astype(np.float32)
    scores = rng.permutation(60).astype(np.float32) / 60
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4501).tolist()
    assert without_overlap(boxes, scores, 0.4501) == expected
    assert 5 < len(expected) < 60


def test_an_iou_of_exactly_the_most_is_no_overlap():
    twice = np.array([[0, 0, 4, 4], [0, 0, 4, 4]], np.float32)
    assert without_overlap(twice, np.array([0.5, 0.6]), 1.0) == [1, 0]


def test_the_order_of_equally_sure_boxes_does_not_decide():
    boxes = np.array([[0, 0, 9, 10], [0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        kept = without_overlap(boxes[order], np.full(3, 0.5), 0.8)
        assert boxes[order][kept].tolist() == boxes[[0, 2]].tolist()


def test_a_box_without_an_area_goes():
    boxes = np.array([[5, 5, 5, 9], [9, 9, 5, 5], [0, 0, 1, 1]], np.float32)
    assert without_overlap(boxes, np.array([0.9, 0.8, 0.1]), 0.5) == [2]
    assert without_overlap(np.zeros((0, 4), np.float32), np.zeros(0), 0.5) == []


def test_a_box_that_is_not_finite_goes():
    boxes = np.array([[np.nan, 0, 5, 5], [0, 0, np.inf, 5], [0, 0, 5, 5], [0, 0, 6, 6]], np.float32)
    assert without_overlap(boxes, np.array([0.9, 0.8, np.nan, 0.1]), 0.5) == [3]


class Finder:
    """Four boxes on every image; it keeps what was asked."""

    def detect(self, images, phrases, *, threshold):
        self.asked = [image.size for image in images], list(phrases), threshold
        found = Detections(BOXES + 0.123456, np.array([0.9, 0.8, 0.7, 0.6], np.float32), ("a", "b", "c", "d"))
        return [found for _ in images]


def test_boxes_go_by_surety_and_keep_their_phrase():
    finder = Finder()
    images = shared_images([jpeg(1), jpeg(2), jpeg(1)])
    found = find_boxes(finder, images, [["x"], [], ["y"]], threshold=0.3, max_iou=0.5, max_boxes=2)
    assert finder.asked == ([(96, 80)] * 3, [["x"], [], ["y"]], 0.3)
    assert found[0].phrases == ["a", "c"]
    assert found[0].scores == pytest.approx([0.9, 0.7])
    assert found[0].edges[1] == pytest.approx([20.12, 0.12, 30.12, 10.12])


class Painter:
    """A mask a box: true from the box's left edge on. It keeps the number of boxes of every image."""

    def segment_boxes(self, images, boxes_BN4):
        self.calls = [len(boxes_N4) for boxes_N4 in boxes_BN4]
        return [
            BoxMasks(np.array([np.arange(image.width) >= box[0] for box in boxes_N4]), np.ones(len(boxes_N4)))
            for image, boxes_N4 in zip(images, boxes_BN4, strict=True)
        ]


def test_rows_with_one_image_share_one_look_and_get_their_own_masks():
    painter = Painter()
    one, other = jpeg(1), jpeg(2)
    boxes = [[[1, 0, 9, 9], [2, 0, 9, 9]], [[3, 0, 9, 9]], [], [[4, 0, 9, 9]], []]
    found = segment_boxes(painter, shared_images([one, other, one, one, jpeg(3)]), boxes)
    assert painter.calls == [3, 1]
    assert [[int(mask.argmax()) for mask in masks] for masks in found] == [[1, 2], [3], [], [4], []]
