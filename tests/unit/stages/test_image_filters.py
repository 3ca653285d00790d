"""The five stages that score images, on checkpoints with random weights and on the miniature models."""

import io

import numpy as np
import pyarrow as pa
import pytest
from _classifiers import save_siglip_classifier, save_vit_classifier, save_yolos
from pydantic import ValidationError

from core.errors import ModelError
from models import registry
from models.protocols import Detections
from pipeline.context import Context
from stages.count_faces import CountFaces
from stages.measure_text import MeasureText
from stages.score_aesthetics import ScoreAesthetics
from stages.score_nsfw import ScoreNsfw
from stages.score_watermark import ScoreWatermark
from zoo.world import render, scene_of


def scene_png(index):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(render(scene_of(0, index))).save(buffer, "PNG")
    return buffer.getvalue()


PNGS = [scene_png(index) for index in range(4)]
BATCH = pa.table(
    {
        "source_images": pa.array([[one] for one in PNGS[:2]], pa.list_(pa.binary())),
        "target_image": pa.array(PNGS[2:], pa.binary()),
    }
)


def run(stage, loader=registry.load):
    found = stage.open(Context(stage_name="x", loader=loader))(BATCH)
    return {name: found[name].to_pylist() for name in stage.writes}


def expected_of(folder, label):
    from _checkpoints import placement
    from PIL import Image

    classifier = registry.load("ImageClassifier", f"path:{folder}", placement())
    images = [Image.open(io.BytesIO(one)).convert("RGB") for one in PNGS]
    return classifier.classify(images, (label,))[:, 0]


@pytest.mark.parametrize(
    ("cls", "save", "label", "name"),
    [
        (ScoreNsfw, save_vit_classifier, "nsfw", "nsfw_score"),
        (ScoreWatermark, save_siglip_classifier, "Watermark", "watermark_score"),
    ],
)
def test_score_is_the_probability_of_the_label(tmp_path, cls, save, label, name):
    folder = save(tmp_path)
    found = run(cls(model=f"path:{folder}", labels=(label,)))
    scores = found[f"source_{name}"] + found[f"target_{name}"]
    np.testing.assert_allclose(scores, expected_of(folder, label), atol=6e-4)


def test_several_labels_add_up(tmp_path):
    folder = save_vit_classifier(tmp_path, ("drawings", "hentai", "neutral", "porn"))
    found = run(ScoreNsfw(model=f"path:{folder}", labels=("hentai", "porn")))["source_nsfw_score"]
    both = expected_of(folder, "hentai") + expected_of(folder, "porn")
    np.testing.assert_allclose(found, both[:2], atol=6e-4)
    everything = ("drawings", "hentai", "neutral", "porn")
    assert run(ScoreNsfw(model=f"path:{folder}", labels=everything))["source_nsfw_score"] == [1.0, 1.0]


def test_label_that_the_checkpoint_lacks_stops_the_stage_as_it_opens(tmp_path):
    folder = save_vit_classifier(tmp_path)
    with pytest.raises(ModelError, match=r"has no label 'porn' \(it has: normal, nsfw\)"):
        run(ScoreNsfw(model=f"path:{folder}", labels=("porn",)))
    with pytest.raises(ModelError, match="has no label 'safe'"):
        run(ScoreNsfw(model=f"path:{folder}", labels=("nsfw",), other_labels=("safe",)))


def test_encoder_needs_other_labels():
    with pytest.raises(ModelError, match="takes any labels and chooses between them; set other_labels"):
        run(ScoreNsfw(model="zoo:clip", labels=("a red car",)))


def test_encoder_finds_the_scene_that_the_label_describes():
    from zoo.world import caption

    labels = tuple(caption(scene_of(0, index)) for index in range(4))
    found = run(ScoreNsfw(model="zoo:clip", labels=labels[:1], other_labels=labels[1:]))
    assert found["source_nsfw_score"][0] > 0.9
    assert max(found["source_nsfw_score"][1], *found["target_nsfw_score"]) < 0.1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"labels": ()}, "at least 1 item"),
        ({"labels": ("a", "a")}, "'a' is there more than once"),
        ({"labels": (" ",)}, "one of the labels is empty"),
        ({"labels": ("a",), "other_labels": ("b", "a")}, "'a' is in labels and in other_labels"),
    ],
)
def test_labels_that_say_nothing_are_refused(settings, reason):
    with pytest.raises(ValidationError, match=reason):
        ScoreNsfw(model="zoo:clip", **settings)


class TwoBoxes:
    """Two boxes of the first phrase that overlap by half, and a small one, on images of 64 px."""

    def detect(self, images, phrases, *, threshold):
        self.asked = phrases
        boxes = np.array([[0, 0, 32, 32], [0, 0, 32, 16], [60, 60, 64, 64]], np.float32)
        scores = np.array([0.9, 0.8, 0.35], np.float32)
        is_kept = scores >= threshold
        kept = Detections(boxes[is_kept], scores[is_kept], (phrases[0][0],) * int(is_kept.sum()))
        return [kept for _ in images]


def test_boxes_of_text_cover_a_share_of_the_image():
    detector = TwoBoxes()
    found = run(MeasureText(model="x:y", phrases=("text", "letters")), lambda *_: detector)
    assert found["source_text_frac"] == pytest.approx([(32 * 32 + 4 * 4) / 64**2] * 2)
    assert found["target_text_frac"] == pytest.approx([(32 * 32 + 4 * 4) / 64**2] * 2)
    assert detector.asked == [["text", "letters"]] * 4
    surer = run(MeasureText(model="x:y", threshold=0.5), lambda *_: detector)
    assert surer["source_text_frac"] == pytest.approx([0.25, 0.25])


def test_faces_that_overlap_count_once():
    counts = [run(CountFaces(model="x:y", max_iou=iou), lambda *_: TwoBoxes()) for iou in (0.4, 0.6)]
    assert [one["source_num_faces"] for one in counts] == [[2, 2], [3, 3]]
    assert counts[0]["target_face_frac"] == pytest.approx([(32 * 32 + 4 * 4) / 64**2] * 2)


def test_detector_of_fixed_labels_is_asked_by_its_label(tmp_path):
    model = f"path:{save_yolos(tmp_path)}"
    found = run(CountFaces(model=model, phrases=("face",), threshold=0.1, max_iou=1.0))
    assert all(isinstance(count, int) for count in found["source_num_faces"])
    with pytest.raises(ModelError, match=r"has no label 'human face' \(it has: face, plate, text\)"):
        run(CountFaces(model=model))


def test_encoder_rates_between_a_good_and_a_bad_label():
    from zoo.world import caption

    good, bad = caption(scene_of(0, 0)), caption(scene_of(0, 1))
    found = run(ScoreAesthetics(model="zoo:clip", label_values={good: 10.0, bad: 1.0}))
    assert found["source_aesthetic_score"][0] > 9
    assert found["source_aesthetic_score"][1] < 2
