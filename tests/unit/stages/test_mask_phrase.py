"""Masks by phrase: which phrase goes to which image, the threshold, the share."""

import io

import numpy as np
import pytest
from _inputs import jpeg, table
from PIL import Image

from pipeline.context import Context
from stages.mask_phrase import MaskPhrase


class LeftHalf:
    """Sure of the left half when asked for "car", half sure of everything else. It keeps the requests."""

    def __init__(self):
        self.asked = []

    def segment_phrases(self, images, phrases):
        self.asked += [(image.size, phrase) for image, phrase in zip(images, phrases, strict=True)]
        found = []
        for image, phrase in zip(images, phrases, strict=True):
            prob_HW = np.full((image.height, image.width), 0.5, np.float32)
            if phrase == "car":
                prob_HW[:, image.width // 2 :] = 0.1
            found.append(prob_HW)
        return found


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_each_image_is_segmented_by_its_own_phrase():
    segmenter = LeftHalf()
    ctx = Context(stage_name="mask_phrase", loader=lambda *_: segmenter)
    rows = table(
        ["a", "b"], source_images=[[jpeg(1)], [jpeg(2)]], target_image=[jpeg(3), jpeg(4)],
        source_phrase=["car", None], target_phrase=["bus", "car"],
    )  # fmt: skip
    found = MaskPhrase(model="zoo:clipseg").open(ctx)(rows)
    assert [phrase for _, phrase in segmenter.asked] == ["car", "", "bus", "car"]
    assert found["source_mask_frac"].to_pylist() == pytest.approx([0.5, 1.0])
    assert found["target_mask_frac"].to_pylist() == pytest.approx([1.0, 0.5])
    mask_HW = opened(found["source_mask_png"][0].as_py())
    assert mask_HW.shape[::-1] == segmenter.asked[0][0]
    assert set(np.unique(mask_HW)) == {0, 255}
    assert (mask_HW[:, : mask_HW.shape[1] // 2] == 255).all()


def test_the_threshold_decides_and_is_strict():
    ctx = Context(stage_name="mask_phrase", loader=lambda *_: LeftHalf())
    rows = table(["a"], source_images=[[jpeg(1)]], target_image=[jpeg(3)], source_phrase=["x"], target_phrase=["x"])
    found = MaskPhrase(model="zoo:clipseg", threshold=0.5).open(ctx)(rows)
    assert found["source_mask_frac"].to_pylist() == [0.0]
