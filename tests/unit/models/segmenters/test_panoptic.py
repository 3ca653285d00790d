import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_mask2former, weights_at

from models.segmenters.panoptic import Mask2Former

SIZES = {"fixed": {"height": 64, "width": 64}, "by edge": {"shortest_edge": 64, "longest_edge": 128}}


@pytest.fixture(scope="module", params=list(SIZES))
def folder(request, tmp_path_factory):
    return save_mask2former(tmp_path_factory.mktemp("mask2former"), SIZES[request.param])


@pytest.fixture(scope="module")
def mask2former(folder):
    return Mask2Former(weights_at(folder), placement())


def as_tensor(array):
    import torch

    return torch.from_numpy(array)


def library_results(folder, images):
    from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

    model = Mask2FormerForUniversalSegmentation.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    for image in images:
        out = model(**processor(images=[image], return_tensors="pt"))
        sizes = [(image.height, image.width)]
        yield processor.post_process_panoptic_segmentation(out, label_ids_to_fuse=set(), target_sizes=sizes)[0]


def test_segments_are_those_of_the_librarys_panoptic_post_processing(folder, mask2former):
    num_segments = 0
    results = mask2former.segment_panoptic(IMAGES)
    for image, found, expected in zip(IMAGES, results, library_results(folder, IMAGES), strict=True):
        infos = expected["segments_info"]
        num_segments += len(infos)
        assert found.segment_HW.shape == (image.height, image.width)
        assert found.segment_HW.dtype == np.int32
        assert found.labels == tuple({0: "cat", 1: "car", 2: "grass"}[info["label_id"]] for info in infos)
        np.testing.assert_allclose(found.scores, [info["score"] for info in infos], atol=1e-4)
        for place, info in enumerate(infos):
            same = (found.segment_HW == place) == (expected["segmentation"].numpy() == info["id"])
            assert same.mean() > 0.999
    assert num_segments > len(IMAGES)


def test_pixels_of_no_segment_are_minus_one(mask2former):
    info = {"id": 2, "label_id": 1, "score": 0.75}
    numbers = np.array([[0, 2], [2, 0]])
    found = mask2former._segments({"segmentation": as_tensor(numbers), "segments_info": [info]})
    np.testing.assert_array_equal(found.segment_HW, [[-1, 0], [0, -1]])
    assert found[1:] == (("car",), (0.75,))


def test_an_image_without_segments_has_an_empty_map(mask2former):
    found = mask2former._segments({"segmentation": as_tensor(np.full((3, 4), -1.0)), "segments_info": []})
    assert (found.segment_HW == -1).all()
    assert found.segment_HW.dtype == np.int32
    assert found.labels == found.scores == ()


def test_a_row_does_not_depend_on_its_batch(mask2former):
    for image, found in zip(IMAGES, mask2former.segment_panoptic(IMAGES), strict=True):
        alone = mask2former.segment_panoptic([image])[0]
        assert alone.labels == found.labels
        np.testing.assert_allclose(alone.scores, found.scores, atol=1e-4)
        assert (alone.segment_HW == found.segment_HW).mean() > 0.999


def test_nothing_in_gives_nothing_out(mask2former):
    assert mask2former.segment_panoptic([]) == []
