"""The stage on the miniature checkpoint, and on a model that keeps what it is asked."""

import io

import numpy as np
from _inputs import table

from models.placement import Placement
from models.registry import load, revision
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from stages.encode_texts import EncodeTexts

TEXTS = ["make the car red", None, "add a tree", "make the car red"]


class Notebook:
    """A model with pooled embeddings that keeps its calls."""

    def __init__(self):
        self.asked = []

    def encode_prompts(self, texts):
        self.asked.append(list(texts))
        return [(np.full((2, 3), n, np.float32), np.full(3, n + 0.5, np.float32)) for n in range(len(texts))]


def encoded(loader):
    rows = table([str(n) for n in range(len(TEXTS))], instruction=TEXTS)
    return EncodeTexts(model="zoo:sd").open(Context(stage_name="encode_texts", loader=loader))(rows)


def array(data):
    return np.load(io.BytesIO(data), allow_pickle=False)


def test_embeddings_are_the_models_in_half_precision():
    found = encoded(load_model)
    expected = load("TextConditioner", "zoo:sd", Placement(device="cpu")).encode_prompts(["add a tree"])[0][0]
    stored = array(found["instruction_emb"][2].as_py())
    assert (stored.dtype, stored.shape) == (np.float16, (32, 128))
    np.testing.assert_allclose(stored, expected, atol=5e-3)
    assert found["instruction_pooled_emb"].to_pylist() == [None] * 4
    assert found["text_model"].to_pylist() == ["zoo:sd"] * 4
    assert set(found["text_revision"].to_pylist()) == {revision("zoo:sd")}


def test_each_instruction_is_asked_for_once_and_an_absent_one_not():
    notebook = Notebook()
    found = encoded(lambda *_, **__: notebook).to_pylist()
    assert notebook.asked == [["make the car red", "add a tree"]]
    assert found[0]["instruction_emb"] == found[3]["instruction_emb"]
    assert (found[1]["instruction_emb"], found[1]["instruction_pooled_emb"]) == (None, None)
    assert array(found[2]["instruction_pooled_emb"]).tolist() == [1.5] * 3
