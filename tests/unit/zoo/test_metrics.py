import numpy as np
import pytest

from models.protocols import Detections
from zoo.evaluation.metrics import average_precision, box_iou, class_ious, iou, nearest_labels


def box(*edges):
    return np.array(edges, np.float32)


def found(*claims):
    """Detections from (box, score, phrase)."""
    boxes, scores, phrases = zip(*claims, strict=True) if claims else ((), (), ())
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), tuple(phrases))


def test_iou_of_masks_is_common_over_all_and_one_for_two_empty_masks():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(one, other) == 1.0
    one[:2], other[1:3] = True, True
    assert iou(one, other) == pytest.approx(4 / 12)


def test_iou_of_boxes_is_that_of_their_areas():
    assert box_iou(box(0, 0, 4, 4), box(2, 2, 6, 6)) == pytest.approx(4 / 28)
    assert box_iou(box(0, 0, 1, 1), box(2, 2, 3, 3)) == 0.0


def test_average_precision_is_one_when_every_truth_is_found_first():
    truths = [[("red car", box(0, 0, 10, 10))], [("blue cat", box(5, 5, 9, 9))]]
    exact = [found((truth[0][1], 0.9, truth[0][0])) for truth in truths]
    assert average_precision(exact, truths) == 1.0


def test_average_precision_agrees_with_a_curve_worked_out_by_hand():
    truths = [[("a", box(0, 0, 10, 10)), ("b", box(20, 0, 30, 10))], [("a", box(0, 0, 10, 10))]]
    claims = [
        found((box(0, 0, 10, 10), 0.9, "a"), (box(0, 0, 10, 10), 0.8, "a"), (box(20, 0, 30, 10), 0.7, "b")),
        found((box(0, 0, 10, 10), 0.6, "b")),  # the right place under the wrong name
    ]
    # right, twice the same, right, wrong: precisions at the two hits 1 and 2/3; the third truth is never found
    assert average_precision(claims, truths) == pytest.approx((1 + 2 / 3) / 3)


def test_average_precision_agrees_with_scikit_learn_on_falling_precision():
    sklearn = pytest.importorskip("sklearn.metrics", exc_type=ImportError)
    truths = [[("a", box(0, 0, 10, 10))] for _ in range(3)] + [[], []]
    scores = (0.9, 0.8, 0.4, 0.3, 0.1)
    claims = [found((box(0, 0, 10, 10), score, "a")) for score in scores]
    assert average_precision(claims, truths) == pytest.approx(sklearn.average_precision_score([1, 1, 1, 0, 0], scores))


def test_nothing_found_has_an_average_precision_of_zero():
    assert average_precision([found()], [[("a", box(0, 0, 1, 1))]]) == 0.0


def test_nearest_labels_follow_the_majority():
    known = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2]]
    assert nearest_labels(np.eye(3, dtype=np.float32)[:2], known, list("aabbbc"), 3) == ["a", "b"]


def test_class_ious_say_nothing_of_classes_that_do_not_occur():
    truth = np.array([[0, 0], [1, 1]])
    ious = class_ious([np.array([[0, 0], [1, -1]])], [truth], 3)
    np.testing.assert_allclose(ious, [1, 1 / 2, np.nan])
