import logging

import numpy as np
import pytest
from _region_heads import save_region_head
from PIL import Image

from evaluation.benchmark import EditCase
from evaluation.masks import PhraseMasks, given_masks, phrase_masks, segmented, whole

IMAGES = [Image.new("RGB", (4, 3)), Image.new("RGB", (2, 2)), Image.new("RGB", (3, 3))]


class Segmenter:
    def segment_phrases(self, images, phrases):
        self.asked = (list(images), list(phrases))
        return [
            np.full((i.height, i.width), 0.0 if p == "dragon" else 0.4) * _left(i)
            for i, p in zip(images, phrases, strict=True)
        ]


def _left(image):
    left = np.zeros((image.height, image.width))
    left[:, 0] = 1
    return left


def test_pixels_at_least_as_likely_as_the_threshold_are_in_the_mask():
    for threshold, expected in ((0.4, _left(IMAGES[0]) > 0), (0.41, whole(IMAGES[0]))):
        mask = segmented(Segmenter().segment_phrases, IMAGES[:1], ["cat"], threshold)[0]
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected)


def test_an_image_in_which_no_phrase_is_found_may_change_as_a_whole(caplog):
    segmenter = Segmenter()
    with caplog.at_level(logging.WARNING):
        masks = segmented(segmenter.segment_phrases, IMAGES, ["cat", " ", "dragon"])
    assert [mask.all() for mask in masks] == [False, True, True]
    assert segmenter.asked == ([IMAGES[0], IMAGES[2]], ["cat", "dragon"])
    assert caplog.messages == ["'dragon' was not found at threshold 0.4: its image is edited as a whole"]


def test_maskers_take_what_a_case_has(tmp_path):
    Image.fromarray(np.uint8([[255, 0, 0, 0]] * 3)).save(tmp_path / "m.png")
    cases = [
        EditCase(key="a", source=b"", mask=tmp_path / "m.png", phrase="cat"),
        EditCase(key="b", source=b""),
    ]
    for masker in (given_masks, phrase_masks(Segmenter().segment_phrases, 0.4, lambda case: case.phrase)):
        masks = masker(cases, IMAGES[:2])
        assert masks[0].tolist() == [[True, False, False, False]] * 3
        assert masks[1].all()


def test_a_threshold_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"the threshold of masks is 1\.5; expected a probability, 0 to 1"):
        phrase_masks(Segmenter().segment_phrases, 1.5, lambda case: case.phrase)


def test_region_head_is_asked_with_the_instruction_of_a_case(tmp_path):
    by_head, by_phrase = PhraseMasks(save_region_head(tmp_path / "head")), PhraseMasks("zoo:clipseg")
    case, silent = (EditCase(key="a", source=b"", instruction=text, phrase="car") for text in ("make it red", ""))
    assert [by_head.text_of(one) for one in (case, silent)] == ["make it red", "car"]
    assert by_phrase.text_of(case) == "car"


def test_masks_of_a_region_head_are_those_of_its_segmenter(tmp_path):
    masks = PhraseMasks(save_region_head(tmp_path / "head", bias=9)).load()
    case = EditCase(key="a", source=b"", instruction="make it red")
    assert masks([case], IMAGES[:1])[0].all()
