"""The wrapper on random checkpoints, against the library's own pipeline."""

import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_clip, save_siglip, weights_at
from _classifiers import NSFW_LABELS, save_beit_classifier, save_siglip_classifier, save_vit_classifier

from core.errors import ModelError
from models import registry
from models.classifiers.image_classifier import TrainedClassifier
from models.classifiers.labels import check_labels

KINDS = {
    "vit": (save_vit_classifier, NSFW_LABELS),
    "beit": (save_beit_classifier, ("not_aesthetic", "aesthetic")),
    "siglip": (save_siglip_classifier, ("No Watermark", "Watermark")),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save(tmp_path_factory.mktemp(kind)) for kind, (save, _) in KINDS.items()}


def by_pipeline(folder, labels, num_labels):
    from transformers import pipeline

    classify = pipeline("image-classification", model=str(folder), device="cpu")
    found = [{one["label"]: one["score"] for one in rows} for rows in classify(IMAGES, top_k=num_labels)]
    return np.array([[row[label] for label in labels] for row in found], np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_librarys_pipeline(folders, kind):
    labels = KINDS[kind][1]
    classifier = registry.load("ImageClassifier", f"path:{folders[kind]}", placement())
    assert classifier.labels == labels
    found = classifier.classify(IMAGES, labels)
    assert found.dtype == np.float32
    assert np.ptp(found[:, 0]) > 0.01  # the images differ, or the comparison would say nothing
    np.testing.assert_allclose(found, by_pipeline(folders[kind], labels, 2), atol=1e-5)


def test_independent_labels_each_have_a_probability_of_their_own(tmp_path):
    labels = ("porn", "drawing", "gore")
    folder = save_vit_classifier(tmp_path, labels, problem_type="multi_label_classification")
    found = TrainedClassifier(weights_at(folder), placement()).classify(IMAGES, labels)
    np.testing.assert_allclose(found, by_pipeline(folder, labels, 3), atol=1e-5)
    assert not np.allclose(found.sum(axis=1), 1, atol=0.01)


def test_some_labels_in_another_order_are_columns_of_all(folders):
    classifier = TrainedClassifier(weights_at(folders["vit"]), placement())
    both = classifier.classify(IMAGES, ("normal", "nsfw"))
    np.testing.assert_array_equal(classifier.classify(IMAGES, ("nsfw",)), both[:, 1:])
    np.testing.assert_array_equal(classifier.classify(IMAGES, ("nsfw", "normal")), both[:, ::-1])


def test_prepared_images_give_the_numbers_of_the_images(folders):
    classifier = TrainedClassifier(weights_at(folders["beit"]), placement())
    ready = classifier.prepare_images(IMAGES)
    assert classifier.prepare_images(ready) is ready
    np.testing.assert_array_equal(
        classifier.classify(ready, ("aesthetic",)), classifier.classify(IMAGES, ("aesthetic",))
    )


def test_nothing_in_gives_nothing_out(folders):
    assert TrainedClassifier(weights_at(folders["vit"]), placement()).classify([], ("nsfw",)).shape == (0, 1)


def test_unknown_label_is_refused_with_all_that_there_are(folders):
    classifier = TrainedClassifier(weights_at(folders["vit"]), placement())
    with pytest.raises(ModelError) as caught:
        check_labels(classifier, ("nsfw", "NSFV"), "model 'path:x'")
    assert str(caught.value) == (
        "model 'path:x': the model has no label 'NSFV' (it has: normal, nsfw); name labels of this model"
    )
    with pytest.raises(ValueError, match="no label is 'NSFV'; expected some of normal, nsfw"):
        classifier.classify(IMAGES, ("NSFV",))


def test_checkpoint_that_predicts_numbers_is_refused(tmp_path):
    folder = save_vit_classifier(tmp_path, ("score",), problem_type="regression")
    with pytest.raises(ValueError, match="predicts numbers, not labels"):
        TrainedClassifier(weights_at(folder), placement())


def test_classifier_made_of_an_encoder_is_no_encoder(folders):
    assert "'siglip classifier', which cannot serve ImageTextEncoder" in registry.cannot_serve(
        "ImageTextEncoder", f"path:{folders['siglip']}"
    )


@pytest.mark.parametrize("save", [save_clip, save_siglip])
def test_whole_encoder_takes_any_labels(save, tmp_path):
    classifier = registry.load("ImageClassifier", f"path:{save(tmp_path)}", placement())
    assert classifier.labels == ()
    np.testing.assert_allclose(classifier.classify(IMAGES, ("a red cat", "a car", "grass")).sum(axis=1), 1, atol=1e-5)
