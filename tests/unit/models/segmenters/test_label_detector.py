"""Detectors of fixed things on a random checkpoint, against the library's post-processing."""

import numpy as np
import pytest
from _checkpoints import IMAGES, placement
from _classifiers import save_rt_detr, save_yolos

from core.errors import ModelError
from models import registry
from models.classifiers.labels import check_labels

LABELS = ("face", "plate", "text")
LOW = 0.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_yolos(tmp_path_factory.mktemp("yolos"))


@pytest.fixture(scope="module")
def detector(folder):
    return registry.load("Detector", f"path:{folder}", placement())


def library_results(folder):
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    model, processor = (kind.from_pretrained(folder) for kind in (AutoModelForObjectDetection, AutoImageProcessor))
    for image in IMAGES:
        out = model(**processor(images=image, return_tensors="pt"))
        sizes = [(image.height, image.width)]
        yield processor.post_process_object_detection(out, threshold=LOW, target_sizes=sizes)[0]


@pytest.mark.parametrize("save", [save_yolos, save_rt_detr])
def test_boxes_labels_and_scores_are_the_librarys(save, tmp_path):
    folder = save(tmp_path)
    detector = registry.load("Detector", f"path:{folder}", placement())
    found = detector.detect(IMAGES, [LABELS] * len(IMAGES), threshold=LOW)
    num_boxes = 0
    for image, one, expected in zip(IMAGES, found, library_results(folder), strict=True):
        order = np.argsort(-expected["scores"].detach().numpy(), kind="stable")
        np.testing.assert_allclose(one.scores_N, expected["scores"].detach().numpy()[order], atol=1e-5)
        boxes = np.clip(expected["boxes"].detach().numpy()[order], 0, [image.width, image.height] * 2)
        np.testing.assert_allclose(one.boxes_N4, boxes, atol=1e-2)
        assert one.phrases == tuple(LABELS[label] for label in expected["labels"][order])
        num_boxes += len(order)
    assert num_boxes > 10


def test_only_labels_that_are_asked_of_an_image_are_found(detector):
    asked = [("face",), ("text", "plate"), (), ("plate",), LABELS]
    found = detector.detect(IMAGES, asked, threshold=LOW)
    assert all(set(one.phrases) <= set(labels) for one, labels in zip(found, asked, strict=True))
    assert len(found[2].scores_N) == 0
    assert sum(len(one.scores_N) for one in found) > 3


def test_threshold_leaves_the_surer_boxes(detector):
    asked = [LABELS] * len(IMAGES)
    low, high = (detector.detect(IMAGES, asked, threshold=level) for level in (LOW, 0.5))
    assert all((one.scores_N >= 0.5).all() for one in high)
    assert [len(one.scores_N) for one in high] == [int((one.scores_N >= 0.5).sum()) for one in low]


def test_phrase_that_is_no_label_is_refused(detector):
    with pytest.raises(ValueError, match="no label is 'human face'; expected some of face, plate, text"):
        detector.detect(IMAGES[:1], [["human face"]], threshold=LOW)
    with pytest.raises(ModelError, match=r"has no label 'faces' \(it has: face, plate, text\)"):
        check_labels(detector, ["faces"], "model 'x'")


def test_detector_of_phrases_knows_any():
    check_labels(object(), ["anything"], "model 'x'")
