"""Classification by an encoder, against transformers and on vectors worked out by hand."""

import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_clip, weights_at

from models.classifiers.zero_shot import SCALE, ZeroShotClassifier
from models.encoders.clip import Clip


class Circle:
    """An image is an angle in degrees, a text names one."""

    dim = 2
    num_texts = 0

    def encode_images(self, images):
        angles = np.radians(np.array(images, np.float32).reshape(-1))
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def encode_texts(self, texts):
        self.num_texts += len(texts)
        return self.encode_images([float(text) for text in texts])


def test_probabilities_are_the_softmax_of_the_scaled_cosines():
    found = ZeroShotClassifier(Circle()).classify([0, 45, 44], ("0", "90"))
    np.testing.assert_allclose(found[:2], [[1, 0], [0.5, 0.5]], atol=1e-4)
    difference = SCALE * (np.cos(np.radians(44)) - np.cos(np.radians(46)))
    assert found[2, 0] == pytest.approx(1 / (1 + np.exp(-difference)), abs=1e-4)


def test_probabilities_are_those_of_transformers_clip(tmp_path):
    import torch
    from transformers import CLIPModel, CLIPProcessor

    labels = ("a red cat", "a blue car", "grass")
    folder = save_clip(tmp_path)
    model = CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        inputs = CLIPProcessor.from_pretrained(folder)(
            text=list(labels), images=IMAGES, return_tensors="pt", padding=True
        )
        expected = model(**inputs).logits_per_image.softmax(dim=1).numpy()
    found = ZeroShotClassifier(Clip(weights_at(folder), placement())).classify(IMAGES, labels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_labels_are_encoded_once_for_all_batches():
    encoder = Circle()
    classifier = ZeroShotClassifier(encoder)
    for _ in range(3):
        classifier.classify([1, 2], ("0", "90"))
    assert encoder.num_texts == 2


def test_one_label_is_refused():
    with pytest.raises(ValueError, match="an encoder chooses between labels; expected two or more"):
        ZeroShotClassifier(Circle()).classify([0], ("0",))


def test_nothing_in_gives_nothing_out():
    assert ZeroShotClassifier(Circle()).classify([], ("0", "90")).shape == (0, 2)
