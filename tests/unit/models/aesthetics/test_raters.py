"""Ratings by a head over CLIP and by values of labels."""

import numpy as np
import pytest
from _checkpoints import IMAGES, placement
from _classifiers import save_beit_classifier, save_head

from core.errors import ModelError
from models import registry
from models.aesthetics.label_values import LabelValues


@pytest.fixture(scope="module")
def clip():
    return registry.load("ImageTextEncoder", "zoo:clip", placement())


def load_head(folder, **settings):
    return registry.load("ImageRater", f"path:{folder}", placement(), **settings)


def test_head_gives_the_numbers_of_the_same_layers_in_torch(tmp_path, clip):
    import torch
    from safetensors.torch import load_file

    folder = save_head(tmp_path, (clip.dim, 16, 8, 1))
    parts = [(clip.dim, 16), (16, 8), (8, 1)]
    layers = [one for sizes in parts for one in (torch.nn.Linear(*sizes), torch.nn.Dropout(0.2))][:-1]
    network = torch.nn.Sequential(*layers).eval()
    network.load_state_dict({n.removeprefix("layers."): t for n, t in load_file(folder / "model.safetensors").items()})
    with torch.no_grad():
        expected = network(torch.from_numpy(clip.encode_images(IMAGES)))[:, 0].numpy()
    rater = load_head(folder)
    np.testing.assert_allclose(rater.rate_images(IMAGES), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rater.rate_images(rater.prepare_images(IMAGES)), expected, rtol=1e-4, atol=1e-4)
    assert rater.rate_images([]).shape == (0,)


def test_encoder_of_a_head_is_missing_before_anything_runs(tmp_path):
    folder = save_head(tmp_path, (4, 1), encoder="hf:openai/clip-vit-large-patch14@" + "3" * 40)
    (lack,) = registry.missing(f"path:{folder}", "ImageRater")
    assert "hf:openai/clip-vit-large-patch14" in lack.message
    assert "not in the local cache" in lack.message


def test_licence_of_a_head_has_that_of_its_encoder(tmp_path):
    folder = save_head(tmp_path, (4, 1))
    assert registry.licence(f"path:{folder}", "ImageRater") == "not stated, apache-2.0"
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert registry.licence(f"path:{folder}", "ImageRater") == "apache-2.0"


def test_head_of_another_encoder_is_refused(tmp_path, clip):
    with pytest.raises(ModelError, match=rf"takes 5 numbers, and zoo:clip gives {clip.dim}; name the encoder"):
        load_head(save_head(tmp_path, (5, 1)))


@pytest.mark.parametrize(
    ("sizes", "config", "reason"),
    [
        ((4, 2), {}, "no chain of linear layers that ends in one number"),
        ((4,), {}, "no chain of linear layers that ends in one number"),
        ((4, 1), {"encoder": "openai:http://somebody/clip"}, "expected hf, open_clip, zoo"),
        ((4, 1), {"encoder": 3}, "cannot be read"),
    ],
)
def test_folder_that_is_no_head_is_refused(tmp_path, sizes, config, reason):
    with pytest.raises(ModelError, match=reason):
        load_head(save_head(tmp_path, sizes, **config))


def test_head_with_layers_that_do_not_meet_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = save_head(tmp_path, (4, 3, 1))
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"layers.2.weight": np.zeros((1, 2), np.float32)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="no chain of linear layers"):
        load_head(folder)
    save_file({**tensors, "extra": np.zeros(1, np.float32)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"holds 'extra'; expected layers\.<number>\.weight and \.bias alone"):
        load_head(folder)
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_head(folder)


def test_pickled_predictor_is_refused_before_it_is_opened(tmp_path):
    folder = save_head(tmp_path, (4, 1))
    (folder / "model.safetensors").rename(folder / "sac+logos+ava1-l14-linearMSE.pth")
    with pytest.raises(ModelError, match="holds pickled weights only"):
        load_head(folder)


def test_labels_are_no_settings_of_a_head(tmp_path):
    with pytest.raises(ModelError, match="is a head, which has no labels; remove the setting label_values"):
        load_head(save_head(tmp_path, (4, 1)), label_values=(("good", 1.0), ("bad", 0.0)))


class Sure:
    """Gives each image these probabilities of the labels a, b and c."""

    labels = ("a", "b", "c")

    def classify(self, images, labels):
        return np.array([[{"a": 0.2, "b": 0.6, "c": 0.2}[label] for label in labels] for _ in images], np.float32)


def test_rating_is_the_mean_of_values_by_probability():
    rated = LabelValues(Sure(), label_values=(("a", 1.0), ("b", 5.0))).rate_images([0, 0])
    np.testing.assert_allclose(rated, [4.0, 4.0], rtol=1e-6)  # (0.2 x 1 + 0.6 x 5) / 0.8


def test_trained_classifier_rates_by_its_labels(tmp_path):
    folder = save_beit_classifier(tmp_path)
    values = (("aesthetic", 1.0), ("not_aesthetic", 0.0))
    rater = registry.load("ImageRater", f"path:{folder}", placement(), label_values=values)
    found = registry.load("ImageClassifier", f"path:{folder}", placement()).classify(IMAGES, ("aesthetic",))
    np.testing.assert_allclose(rater.rate_images(IMAGES), found[:, 0], rtol=1e-5)


@pytest.mark.parametrize("values", [(), (("a", 1.0),)])
def test_fewer_than_two_values_are_refused(values):
    with pytest.raises(ValueError, match="a classifier rates by values of labels; set label_values"):
        LabelValues(Sure(), label_values=values)


def test_value_of_an_unknown_label_is_refused():
    with pytest.raises(ModelError, match=r"label_values: the model has no label 'good' \(it has: a, b, c\)"):
        LabelValues(Sure(), label_values=(("a", 1.0), ("good", 0.0)))
