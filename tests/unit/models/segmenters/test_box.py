import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_sam, weights_at

from models.segmenters import box as segment_box
from models.segmenters.box import Sam

BOXES = [
    np.array([[2, 3, 20, 25], [10, 0, 40, 30], [5.5, 6.5, 11, 12]], np.float32),
    np.zeros((0, 4), np.float32),
    np.array([[0, 0, 39, 29]], np.float32),
    np.array([[1, 1, 20, 40], [3, 20, 18, 50]], np.float32),
    np.array([[2, 3, 20, 25]], np.float32),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def sam(folder):
    return Sam(weights_at(folder), placement())


def test_masks_are_the_librarys_best_of_three_by_predicted_iou(folder, sam):
    from transformers import SamModel, SamProcessor

    model, processor = SamModel.from_pretrained(folder), SamProcessor.from_pretrained(folder)
    chosen = set()
    for image, boxes, found in zip(IMAGES, BOXES, sam.segment_boxes(IMAGES, BOXES), strict=True):
        if not len(boxes):
            continue
        inputs = processor(image, input_boxes=[boxes.tolist()], return_tensors="pt")
        out = model(**inputs)
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        masks = processor.post_process_masks(out.pred_masks, *sizes)[0].numpy()
        iou = out.iou_scores[0].detach().numpy()
        assert masks.shape == (len(boxes), 3, image.height, image.width)
        best = iou.argmax(axis=1)
        chosen |= set(best.tolist())
        np.testing.assert_allclose(found.scores_N, iou.max(axis=1), atol=1e-4)
        assert found.masks_NHW.dtype == np.bool_
        expected = masks[np.arange(len(boxes)), best]
        assert (found.masks_NHW == expected).mean() > 0.999
        assert 0 < expected.mean() < 1
    assert chosen != {0}  # else a wrapper that takes the first of three would pass


def test_an_image_without_boxes_gets_no_masks(sam):
    found = sam.segment_boxes(IMAGES, BOXES)[1]
    assert found.masks_NHW.shape == (0, 28, 28)
    assert found.scores_N.shape == (0,)


def test_an_image_is_embedded_once_and_only_when_it_has_boxes(sam, monkeypatch):
    embedded = []
    embed = sam._model.get_image_embeddings
    monkeypatch.setattr(
        sam._model, "get_image_embeddings", lambda pixels: embedded.append(len(pixels)) or embed(pixels)
    )
    sam.segment_boxes(IMAGES, BOXES)
    assert embedded == [2, 2]


def test_a_row_does_not_depend_on_its_batch(sam):
    for image, boxes, found in zip(IMAGES, BOXES, sam.segment_boxes(IMAGES, BOXES), strict=True):
        alone = sam.segment_boxes([image], [boxes])[0]
        np.testing.assert_allclose(alone.scores_N, found.scores_N, atol=1e-4)
        assert not len(boxes) or (alone.masks_NHW == found.masks_NHW).mean() > 0.999


def test_many_boxes_are_decoded_in_parts_with_the_same_result(sam, monkeypatch):
    whole = sam.segment_boxes(IMAGES[:1], BOXES[:1])[0]
    monkeypatch.setattr(segment_box, "BOXES_AT_ONCE", 2)
    parts = sam.segment_boxes(IMAGES[:1], BOXES[:1])[0]
    assert parts.masks_NHW.shape == (3, 30, 40)
    np.testing.assert_allclose(parts.scores_N, whole.scores_N, atol=1e-4)
    assert (parts.masks_NHW == whole.masks_NHW).mean() > 0.999


def test_nothing_in_gives_nothing_out(sam):
    assert sam.segment_boxes([], []) == []


def test_lists_of_different_length_are_refused(sam):
    with pytest.raises(ValueError, match=r"differ in length \(5 images, 1 boxes\)"):
        sam.segment_boxes(IMAGES, BOXES[:1])
