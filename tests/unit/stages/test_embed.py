"""Vectors of images, and captions that say nothing."""

import numpy as np
import pyarrow as pa
from _inputs import jpeg, table

from pipeline.context import Context
from pipeline.plan.plugins import load_model
from samples.columns import REJECT_REASON
from samples.stored_images import first_images
from stages.caption import Caption
from stages.embed import Embed, vectors_column


def test_each_image_has_the_vector_that_the_encoder_gives_it():
    rows = table(["a", "b"], source_images=[[jpeg(1)], [jpeg(2)]])
    found = Embed(model="zoo:clip").open(Context(stage_name="embed", loader=load_model))(rows)
    encoder = load_model("ImageTextEncoder", "zoo:clip")
    got = np.array(found["image_embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(got, encoder.encode_images(first_images(rows["source_images"])), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=2e-3)


def test_a_column_of_vectors_keeps_rows_apart():
    emb = np.arange(6, dtype=np.float16).reshape(2, 3)
    assert vectors_column(emb).to_pylist() == [[0, 1, 2], [3, 4, 5]]
    assert vectors_column(emb[:0]).type == pa.list_(pa.float16())


def test_a_generated_caption_is_text_with_its_accents_composed():
    class Captioner:
        def caption(self, images):
            return ["a cafe\u0301", "a \ud800 dog"]

    rows = table(["a", "b"], source_images=[[jpeg(1)], [jpeg(2)]])
    stage = Caption(model="zoo:blip").open(Context(stage_name="caption", loader=lambda *_, **__: Captioner()))
    assert stage(rows)["generated_caption"].to_pylist() == ["a caf\u00e9", "a ? dog"]


def test_a_caption_is_stripped_and_one_that_says_nothing_is_a_reject():
    class Captioner:
        def caption(self, images):
            return [" a  dog\n", "  "]

    asked = {}

    def loader(protocol, model, **settings):
        asked.update(settings, protocol=protocol, model=model)
        return Captioner()

    rows = table(["a", "b"], source_images=[[jpeg(1)], [jpeg(2)]])
    found = Caption(model="zoo:blip", prompt="a photo of").open(Context(stage_name="caption", loader=loader))(rows)
    assert found["generated_caption"].to_pylist() == ["a dog", ""]
    assert found[REJECT_REASON].to_pylist() == [None, "empty_caption"]
    assert asked == {"protocol": "Captioner", "model": "zoo:blip", "prompt": "a photo of", "max_new_tokens": 30}


class Sizes:
    """Notes the sizes of the images that it is given."""

    dim = 2

    def __init__(self):
        self.seen = []

    def encode_images(self, images):
        self.seen = [image.size for image in images]
        return np.ones((len(images), 2), np.float32)

    def caption(self, images):
        return [str(image.size) for image in images]


def test_large_jpegs_are_decoded_smaller_where_that_is_asked_for():
    rows = table(["a", "b"], source_images=[[jpeg(1, (640, 480))], [jpeg(2, (100, 90))]])
    model = Sizes()
    ctx = Context(stage_name="embed", loader=lambda *_, **__: model)
    Embed(model="zoo:clip").open(ctx)(rows)
    assert model.seen == [(640, 480), (100, 90)]
    Embed(model="zoo:clip", reduced_jpeg_px=64).open(ctx)(rows)
    assert model.seen == [(160, 120), (100, 90)]
    captions = Caption(model="zoo:blip", reduced_jpeg_px=200).open(ctx)(rows)
    assert captions["generated_caption"].to_pylist() == ["(320, 240)", "(100, 90)"]
