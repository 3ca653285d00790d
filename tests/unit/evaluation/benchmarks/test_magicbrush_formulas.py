"""Our numbers on a made folder equal a straight re-computation from the formulas of MagicBrush's published script.

L1 and L2 on [0, 1] after Pillow's default resize to the true result; cosines of CLIP embeddings (image and image, image
and local description) and of DINO's class token. "All turns" pairs `_1` and each `_inde_k` with its own true result,
"final turn" pairs the last `_iter_k` of a session, or `_1` where it has one turn, with the last one.
"""

import json

import numpy as np
import pytest
from _folders import magicbrush_folder
from PIL import Image, ImageEnhance

from evaluation import loading
from evaluation.benchmarks.magicbrush import MagicBrush
from evaluation.editors import EditorChoice
from evaluation.judges import JudgeIds
from evaluation.run import evaluate
from models.model_ids import find

TURNS = (1, 2, 3)


class SmallerEditor:
    """Darkens inside the mask, and gives back an image of another size, as 512 px models do for 1024 px."""

    needs, uses = frozenset({"instruction"}), frozenset({"mask"})

    def edit(self, requests, *, seeds):
        edited = []
        for one in requests:
            dark = ImageEnhance.Brightness(one.image).enhance(0.4)
            if one.mask is not None:
                dark = Image.composite(dark, one.image, Image.fromarray((one.mask * 255).astype(np.uint8)))
            edited.append(dark if one.mask is not None else dark.resize((48, 48)))
        return edited


@pytest.fixture(autouse=True)
def _editor(monkeypatch):
    real = loading.load_model
    monkeypatch.setattr(
        loading, "load_model", lambda name, *a, **k: SmallerEditor() if name == "Editor" else real(name, *a, **k)
    )


@pytest.fixture
def folder(tmp_path):
    return magicbrush_folder(tmp_path / "test", turns=TURNS)


def pairs_of(outputs, images, protocol):
    """(edited image, true image, session) of each comparison."""
    found = []
    for number, turns in enumerate(TURNS):
        name = str(139 + number)
        kind = "inde" if protocol == "single_turn" else "iter"
        for turn in range(1, turns + 1) if protocol == "single_turn" else [turns]:
            made = f"{name}_1.png" if turn == 1 else f"{name}_{kind}_{turn}.png"
            found.append((outputs / name / made, images / name / f"{name}-output{turn}.png", name))
    return found


def distance(one, other, power, inside=None):
    made, true = Image.open(one).convert("RGB"), Image.open(other).convert("RGB")
    made = made.resize(true.size)
    apart = np.abs(np.asarray(made, np.float64) / 255 - np.asarray(true, np.float64) / 255) ** power
    return apart.mean() if inside is None else apart[inside].mean()


def clip_embeddings(images, texts):
    """Of the checkpoint as transformers loads it, and not by our wrapper."""
    import torch
    from transformers import AutoModel, AutoProcessor

    folder = find("zoo:clip").location
    model, processor = AutoModel.from_pretrained(folder).float().eval(), AutoProcessor.from_pretrained(folder)
    with torch.inference_mode():
        found = model(**processor(text=list(texts), images=list(images), return_tensors="pt", padding=True))
    return found.image_embeds.numpy(), found.text_embeds.numpy()


def dino_embeddings(images):
    import torch
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
    from transformers import AutoImageProcessor, AutoModel

    folder = find("zoo:dino").location
    centre = Compose([Resize(256, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
    model, processor = AutoModel.from_pretrained(folder).float().eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        found = model(**processor(images=[centre(image) for image in images], return_tensors="pt"))
    return found.last_hidden_state[:, 0].numpy()


def cosine(one, other):
    return [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("masks", ["none", "given"])
def test_both_protocols_equal_the_published_formulas(folder, tmp_path, masks):
    choice = EditorChoice.of_model("zoo:sd", masks=masks)
    judges = JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",))
    scores = evaluate(MagicBrush().read(folder), tmp_path / "out", editor=choice, judges=judges)
    local = json.loads((folder / "local_descriptions.json").read_text())
    for protocol, count in (("single_turn", 6), ("multi_turn", 3)):
        pairs = pairs_of(tmp_path / "out" / "outputs", folder / "images", protocol)
        assert scores.sections[protocol].num_samples == len(pairs) == count
        made, true = ([Image.open(pair[at]).convert("RGB") for pair in pairs] for at in (0, 1))
        texts = [local[session][path.name] for _, path, session in pairs]
        made_emb, text_emb = clip_embeddings(made, texts)
        true_emb, _ = clip_embeddings(true, texts)
        expected = {
            "l1": [distance(*pair[:2], 1) for pair in pairs],
            "l2": [distance(*pair[:2], 2) for pair in pairs],
            "clip_i": cosine(made_emb, true_emb),
            "clip_t": cosine(made_emb, text_emb),
            "clip_t_target": cosine(true_emb, text_emb),
            "dino": cosine(dino_embeddings(made), dino_embeddings(true)),
        }
        for metric, values in expected.items():
            tolerance = 1e-9 if metric in ("l1", "l2") else 1e-4  # pixels are exact, networks are floats
            assert scores.value(metric, protocol) == pytest.approx(np.mean(values), abs=tolerance), metric
    sizes = {
        Image.open(path).size for path, _, _ in pairs_of(tmp_path / "out" / "outputs", folder / "images", "multi_turn")
    }
    assert sizes == ({(64, 64)} if masks == "given" else {(48, 48)})


def test_regions_take_distances_within_each_turns_own_mask(folder, tmp_path):
    choice = EditorChoice.of_model("zoo:sd", masks="given")
    scores = evaluate(MagicBrush(regions=True).read(folder), tmp_path / "out", editor=choice)
    for protocol in ("single_turn", "multi_turn"):
        inside = {1: [], 2: []}
        for made, true, session in pairs_of(tmp_path / "out" / "outputs", folder / "images", protocol):
            turn = true.stem.removeprefix(f"{session}-output")
            mask = Image.open(folder / "images" / session / f"{session}-mask{turn}.png").getchannel("A")
            for power, found in inside.items():
                found.append(distance(made, true, power, np.asarray(mask) == 0))
        assert scores.value("l1_inside", protocol) == pytest.approx(np.mean(inside[1]))
        assert scores.value("l2_inside", protocol) == pytest.approx(np.mean(inside[2]))


def test_whole_images_are_compared_without_that_setting(folder, tmp_path):
    scores = evaluate(
        MagicBrush().read(folder), tmp_path / "out", editor=EditorChoice.of_model("zoo:sd", masks="given")
    )
    assert set(scores.sections["single_turn"].mean) == {"l1", "l2"}
