"""Our numbers of Emu Edit's measures equal a straight re-computation: all images against their sources.

L1 on [0, 1] after resizing to the source, cosines of CLIP embeddings (image and source, image and output caption), the
cosine of both changes with embeddings made of length 1 first, and that of DINO's class token.
"""

import io
import json

import numpy as np
import pytest
from _folders import emu_parquet, emu_rows
from PIL import Image, ImageOps

from evaluation import loading
from evaluation.benchmarks.emu_edit import EmuEdit
from evaluation.editors import EditorChoice
from evaluation.images import read_bytes
from evaluation.judges import JudgeIds
from evaluation.run import evaluate


class SmallerMirror:
    needs, uses = frozenset({"instruction"}), frozenset()

    def edit(self, requests, *, seeds):
        return [ImageOps.mirror(one.image).resize((40, 40)) for one in requests]


@pytest.fixture(autouse=True)
def _editor(monkeypatch):
    real = loading.load_model
    monkeypatch.setattr(
        loading, "load_model", lambda name, *a, **k: SmallerMirror() if name == "Editor" else real(name, *a, **k)
    )


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_measures_equal_the_formulas(tmp_path):
    benchmark = EmuEdit().read(emu_parquet(tmp_path / "emu", emu_rows()))
    judges = JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",))
    scores = evaluate(benchmark, tmp_path / "out", editor=EditorChoice.of_model("zoo:sd"), judges=judges)
    before = [Image.open(io.BytesIO(read_bytes(one.source))).convert("RGB") for one in benchmark.samples]
    after = [Image.open(tmp_path / "out" / "outputs" / f"{one.key}.png").convert("RGB") for one in benchmark.samples]
    one, other = before_and_after(before, after, benchmark)
    expected = {
        "l1": np.mean([
            np.abs(np.asarray(a.resize(b.size), float) / 255 - np.asarray(b, float) / 255).mean()
            for a, b in zip(after, before, strict=True)
        ]),
        "clip_i": (one["image"] * other["image"]).sum(1).mean(),
        "clip_t": (other["image"] * other["text"]).sum(1).mean(),
        "clip_direction": (unit(other["image"] - one["image"]) * unit(other["text"] - one["text"])).sum(1).mean(),
    }  # fmt: skip
    for metric, value in expected.items():
        assert scores.value(metric, "kept") == pytest.approx(value, abs=1e-9 if metric == "l1" else 1e-4), metric
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["views"] == {"dino": "centre_224"}


def before_and_after(before, after, benchmark):
    """Embeddings of length 1 of the checkpoint as transformers loads it, before and after the edits."""
    import torch
    from transformers import AutoModel, AutoProcessor

    from models.model_ids import find

    folder = find("zoo:clip").location
    model, processor = AutoModel.from_pretrained(folder).float().eval(), AutoProcessor.from_pretrained(folder)
    found = []
    for images, texts in (
        (before, [one.source_text for one in benchmark.samples]),
        (after, [one.target_text for one in benchmark.samples]),
    ):
        with torch.inference_mode():
            out = model(**processor(text=texts, images=images, return_tensors="pt", padding=True))
        found.append({"image": unit(out.image_embeds.numpy()), "text": unit(out.text_embeds.numpy())})
    return found
