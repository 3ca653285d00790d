"""Cosines of a pair against vectors worked out by hand."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from _inputs import jpeg, table

from pipeline.context import Context
from stages.score_pair import ScorePair

X, Y, Z = np.eye(3, dtype=np.float32)
HALF = ((X + Y) / np.sqrt(2)).astype(np.float32)


class Encoder:
    """Images by the order of the calls, texts by their words."""

    dim = 3
    texts: ClassVar = {"x": X, "y": Y, "z": Z, "": X}

    def __init__(self, *image_vectors):
        self.calls = [np.stack(vectors) for vectors in image_vectors]

    def encode_images(self, images):
        assert all(image.mode == "RGB" for image in images)
        return self.calls.pop(0)

    def encode_texts(self, texts):
        return np.stack([self.texts[text] for text in texts])


def scores(source, target, source_caption, target_caption):
    encoder = Encoder([source], [target])
    ctx = Context(stage_name="score_pair", loader=lambda *_: encoder)
    rows = table(
        ["a"], source_images=[[jpeg(1)]], target_image=[jpeg(2)], source_caption=[source_caption],
        target_caption=[target_caption],
    )  # fmt: skip
    found = ScorePair(model="zoo:clip").open(ctx)(rows)
    assert found.schema.field("pair_image_cos").type == pa.float32()
    return {name: found[name][0].as_py() for name in ScorePair.writes}


def test_scores_are_the_cosines_of_what_they_name():
    found = scores(X, HALF, "x", "y")
    assert found["source_caption_cos"] == 1
    assert found["target_caption_cos"] == pytest.approx(0.70711)
    assert found["target_margin_cos"] == pytest.approx(0)
    assert found["pair_image_cos"] == pytest.approx(0.70711)
    # (HALF - X) . (Y - X) over their lengths
    change = HALF - X
    assert found["pair_direction_cos"] == pytest.approx(
        change @ (Y - X) / np.linalg.norm(change) / np.sqrt(2), abs=1e-5
    )


def test_a_perfect_edit_has_direction_and_margin_one():
    found = scores(X, Y, "x", "y")
    assert (found["pair_direction_cos"], found["target_margin_cos"], found["pair_image_cos"]) == (1, 1, 0)


def test_no_change_has_direction_zero_rather_than_no_number():
    assert scores(X, X, "x", "y")["pair_direction_cos"] == 0
    assert scores(X, Y, None, "x")["pair_direction_cos"] == 0
