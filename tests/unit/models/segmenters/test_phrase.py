import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_clipseg, weights_at

from models.segmenters.phrase import ClipSeg

PHRASES = ["a red car", "the cat on the grass", "blue", "a photo of a cat", "red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture(scope="module")
def clipseg(folder):
    return ClipSeg(weights_at(folder), placement())


def test_maps_are_the_librarys_logits_after_the_sigmoid_at_the_images_size(folder, clipseg):
    from torch.nn.functional import interpolate
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    model, processor = CLIPSegForImageSegmentation.from_pretrained(folder), CLIPSegProcessor.from_pretrained(folder)
    inputs = processor(text=PHRASES, images=IMAGES, padding="max_length", return_tensors="pt")
    probs = model(**inputs).logits.detach().sigmoid()
    assert probs.shape == (5, 48, 48)
    maps = clipseg.segment_phrases(IMAGES, PHRASES)
    for image, prob, found in zip(IMAGES, probs, maps, strict=True):
        size = (image.height, image.width)
        expected = interpolate(prob[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
        assert found.shape == size
        assert found.dtype == np.float32
        assert 0 <= found.min() < found.max() <= 1
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_an_image_of_the_models_own_size_is_not_resampled(folder, clipseg):
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    image = IMAGES[0].resize((48, 48))
    inputs = CLIPSegProcessor.from_pretrained(folder)(text=["red"], images=[image], return_tensors="pt")
    logits = CLIPSegForImageSegmentation.from_pretrained(folder)(**inputs).logits
    np.testing.assert_allclose(clipseg.segment_phrases([image], ["red"])[0], logits[0].detach().sigmoid(), atol=2e-5)


def test_a_row_does_not_depend_on_its_batch(clipseg):
    for image, phrase, found in zip(IMAGES, PHRASES, clipseg.segment_phrases(IMAGES, PHRASES), strict=True):
        np.testing.assert_allclose(clipseg.segment_phrases([image], [phrase])[0], found, atol=2e-5)


def test_the_phrase_decides_the_map(clipseg):
    one, other = clipseg.segment_phrases([IMAGES[0]] * 2, ["a red car", "grass"])
    assert np.abs(one - other).max() > 1e-4


def test_nothing_in_gives_nothing_out(clipseg):
    assert clipseg.segment_phrases([], []) == []


def test_a_phrase_longer_than_the_model_reads_is_cut(clipseg):
    assert clipseg.segment_phrases([IMAGES[0]], ["the red cat on the grass " * 20])[0].shape == (30, 40)


def test_lists_of_different_length_are_refused(clipseg):
    with pytest.raises(ValueError, match=r"differ in length \(5 images, 1 phrases\); pass one entry a row in each"):
        clipseg.segment_phrases(IMAGES, ["red"])
