"""Cosines of a pair against vectors worked out by hand."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from _inputs import jpeg, table

from core.errors import RunStopped
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from stages.embed import Embed, vectors_column
from stages.score_pair import ScorePair

X, Y, Z = np.eye(3, dtype=np.float32)
HALF = ((X + Y) / np.sqrt(2)).astype(np.float32)
TEXTS = ("source_caption", "target_caption")


class Encoder:
    """Images by the order of the calls, texts by their words."""

    dim = 3
    texts: ClassVar = {"x": X, "y": Y, "z": Z, "": X}

    def __init__(self, *image_vectors):
        self.calls, self.num_images = [np.stack(vectors) for vectors in image_vectors], []

    def encode_images(self, images):
        assert all(image.mode == "RGB" for image in images)
        self.num_images.append(len(images))
        return self.calls.pop(0)

    def encode_texts(self, texts):
        return np.stack([self.texts[text] for text in texts])


def scored(encoder, rows, **settings):
    ctx = Context(stage_name="score_pair", loader=lambda *_: encoder)
    return ScorePair(model="zoo:clip", **settings).open(ctx)(rows)


def scores(source, target, source_caption, target_caption):
    rows = table(
        ["a"], source_images=[[jpeg(1)]], target_image=[jpeg(2)], source_caption=[source_caption],
        target_caption=[target_caption],
    )  # fmt: skip
    found = scored(Encoder([source, target]), rows)
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


def edits(sources, targets, vectors=None):
    """Rows of edits from "x" to "y", with the vectors that `embed` stored of their sources."""
    count = len(sources)
    rows = table(
        [str(n) for n in range(count)], source_images=[[jpeg(n)] for n in sources],
        target_image=[jpeg(n) for n in targets], source_caption=["x"] * count, target_caption=["y"] * count,
    )  # fmt: skip
    if vectors is None:
        return rows
    return rows.append_column("image_embedding", vectors_column(np.stack(vectors).astype(np.float16)))


def test_an_image_that_rows_share_is_encoded_once():
    encoder = Encoder([X, Y, HALF])
    found = scored(encoder, edits([1, 1, 1], [2, 3, 1]))
    assert encoder.num_images == [3]
    assert found["pair_image_cos"].to_pylist() == [0, pytest.approx(0.70711), 1]


def test_stored_vectors_take_the_place_of_the_sources_but_one():
    encoder = Encoder([X, Y, HALF, X])
    found = scored(encoder, edits([1, 2, 3], [4, 5, 6], [X, HALF, HALF]), reuse_embedding=True)
    assert encoder.num_images == [4]
    assert found["pair_image_cos"].to_pylist() == pytest.approx([0, 1, 0.70711], abs=1e-4)


def test_scores_by_stored_vectors_differ_in_the_last_digits():
    made = load_model("ImageTextEncoder", "zoo:clip")
    rows = edits(range(1, 9), range(11, 19))
    rows = Embed(model="zoo:clip").open(Context(stage_name="embed", loader=load_model))(rows)
    texts = {name: ["a red car"] * 8 if "source" in name else ["a blue bus"] * 8 for name in TEXTS}
    for name, values in texts.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    anew, reused = scored(made, rows), scored(made, rows, reuse_embedding=True)
    for name in ScorePair.writes:
        is_direction = name == "pair_direction_cos"
        np.testing.assert_allclose(reused[name], anew[name], atol=5e-3 if is_direction else 3e-4, err_msg=name)


def test_no_change_has_direction_zero_by_a_stored_vector_too():
    vector = np.float32([0.4821, 0.6137, 0.6253])
    vector /= np.linalg.norm(vector)
    found = scored(Encoder([vector]), edits([1], [1], [vector]), reuse_embedding=True)
    assert found["pair_direction_cos"].to_pylist() == [0]


def test_vectors_of_another_model_or_picture_stop_the_run():
    with pytest.raises(RunStopped) as caught:
        scored(Encoder([X, Y]), edits([1], [2], [HALF]), reuse_embedding=True)
    assert str(caught.value) == (
        "sample 0: image_embedding is not the vector of its source image by 'zoo:clip' (a cosine of 0.707); give the "
        "model and the reduced_jpeg_px that made it, or set reuse_embedding = false"
    )
    with pytest.raises(RunStopped, match=r"\(4 numbers, not 3\)"):
        scored(Encoder([X, Y]), edits([1], [2], [np.float32([1, 0, 0, 0])]), reuse_embedding=True)


def test_the_chain_must_have_vectors_to_be_reused():
    assert ScorePair(model="zoo:clip").needs_columns() == ()
    assert ScorePair(model="zoo:clip", reuse_embedding=True).needs_columns() == ("image_embedding",)


def test_no_rows_are_scored_without_an_image():
    found = scored(load_model("ImageTextEncoder", "zoo:clip"), edits([1], [2], [X]).slice(0, 0), reuse_embedding=True)
    assert found.num_rows == 0
