import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_clip, weights_at

from models.encoders.clip import Clip
from models.encoders.tagger import ZeroShotTagger


class Fake:
    """Images and texts on the unit circle: an image is its own angle in degrees, a text names one."""

    dim = 2

    def encode_images(self, images):
        angles = np.radians(np.array(images, np.float32).reshape(-1))
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def encode_texts(self, texts):
        self.texts = list(texts)
        self.num_texts = getattr(self, "num_texts", 0) + len(texts)
        return self.encode_images([float(text.split()[-1]) for text in texts])


def test_tags_run_from_the_nearest_to_the_threshold():
    tagged = ZeroShotTagger(Fake(), ["0", "90", "45"]).tag([10, 80, 225], threshold=0.5)
    assert [[tag for tag, _ in tags] for tags in tagged] == [["0", "45"], ["90", "45"], []]
    assert tagged[0][0][1] == pytest.approx(np.cos(np.radians(10)), abs=1e-6)


def test_tags_are_written_into_the_template():
    encoder = Fake()
    ZeroShotTagger(encoder, ["0", "9"], template="angle {}")
    assert encoder.texts == ["angle 0", "angle 9"]
    ZeroShotTagger(encoder, ["0"])
    assert encoder.texts == ["a photo of a 0"]


def test_tags_that_score_the_same_keep_their_order():
    assert [tag for tag, _ in ZeroShotTagger(Fake(), ["90", "-90", "0"]).tag([0], threshold=-1)[0]] == [
        "0",
        "90",
        "-90",
    ]


def test_nothing_in_gives_nothing_out():
    assert ZeroShotTagger(Fake(), ["0"]).tag([], threshold=0) == []


def test_words_of_an_image_are_tried_on_that_image_alone():
    tagged = ZeroShotTagger(Fake(), ["0", "90"]).tag([10, 80, 50], threshold=0.5, also=[["5"], [], ["45", "90", "45"]])
    assert [[tag for tag, _ in tags] for tags in tagged] == [["5", "0"], ["90"], ["45", "90", "0"]]


def test_a_word_is_encoded_when_it_first_comes(monkeypatch):
    encoder = Fake()
    tagger = ZeroShotTagger(encoder, ["0", "90"])
    for words, num_texts in ((["5", "6"], 4), (["6", "7"], 5), ([], 5)):
        tagger.tag([10], threshold=-1, also=[words])
        assert encoder.num_texts == num_texts
    monkeypatch.setattr("models.encoders.tagger.KEPT_WORDS", 3)
    assert [tag for tag, _ in tagger.tag([10], threshold=0.9, also=[["8", "9"]])[0]] == ["9", "8", "0"]
    assert list(tagger._word_emb_D) == ["8", "9"]


def test_words_for_some_of_the_images_are_refused():
    with pytest.raises(ValueError, match="2 images, 1 also"):
        ZeroShotTagger(Fake(), ["0"]).tag([10, 20], threshold=0, also=[["5"]])


def test_a_score_is_the_cosine_of_the_encoder(tmp_path):
    clip = Clip(weights_at(save_clip(tmp_path)), placement())
    words = ["cat", "car", "grass"]
    tagged = ZeroShotTagger(clip, words).tag(IMAGES, threshold=-1)
    expected = clip.encode_images(IMAGES) @ clip.encode_texts([f"a photo of a {word}" for word in words]).T
    for tags, row in zip(tagged, expected, strict=True):
        assert [tag for tag, _ in tags] == [words[place] for place in np.argsort(-row)]
        np.testing.assert_allclose([score for _, score in tags], np.sort(row)[::-1], atol=1e-6)


def test_vocabularies_and_templates_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="has no tags; give at least one"):
        ZeroShotTagger(Fake(), [])
    with pytest.raises(ValueError, match="has '0' more than once; name each tag once"):
        ZeroShotTagger(Fake(), ["0", "9", "0"])
    with pytest.raises(ValueError, match=r"'a photo' has no \{\}; mark with it where the tag goes"):
        ZeroShotTagger(Fake(), ["0"], template="a photo")
