"""Beyond Editing Pairs in very small: data, a killed training, edits by four generators, regions for other editors."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from _builds import build
from _killed_trainings import curve, kill_at_step
from _openai_server import image_server
from _region_heads import save_region_head
from PIL import Image
from safetensors.torch import load_file

from cli import exits
from cli.main import app
from samples.stored_images import mask_array
from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes import find_recipe
from zoo.dataset_shards import read_samples
from zoo.write_edits import main as write_edits
from zoo.write_world import main as write_world

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SETTINGS = {
    "clip_model": "zoo:clip", "generator": "zoo:sd-inpaint", "generator_steps": 1, "generator_guidance_scale": 1.0,
    "size_px": 64, "num_heads": 4, "hidden": 16, "steps": 5, "seed": 4, "learning_rate": 0.01, "ema_decay": 0.9,
}  # fmt: skip
RUN_ON = {"batch_size": 3, "checkpoint_every": 2, "preview_every": 0, "device": "cpu"}
SCRIPT = """
import json
import sys

from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes import find_recipe

train(make_recipe(find_recipe("regions"), json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    flags = ["--shards", "1", "--scenes-per-shard", "8", "--seed", "5", "--captions", "canonical", "--max-things", "2"]
    assert write_world([str(folder), *flags, "--plain"]) == 0
    return folder


@pytest.fixture(scope="module")
def built(world, tmp_path_factory):
    """The run folder of the tiny manifest on few scenes."""
    out = tmp_path_factory.mktemp("built")
    manifest = ROOT / "manifests" / "tiny" / "regions.toml"
    code, _, printed = build(out, "--executor", "inprocess", shards=world, manifest=manifest, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    return out


def settings(built, out, **more):
    return make_recipe(find_recipe("regions"), {
        **SETTINGS, "data": str(built / "dataset"), "out": out, "run_on": RUN_ON, **more
    })  # fmt: skip


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory):
    return train(settings(built, tmp_path_factory.mktemp("trained") / "through")).model


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edits")
    assert write_edits([str(folder), "--count", "2"]) == 0
    return sorted((folder / "images").glob("*.source.png"))


def run(*argv):
    return exits.run(app, [str(one) for one in argv])


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_dataset_has_texts_and_no_edited_image(built):
    samples = [(json.loads(members["json"]), set(members)) for _, members in read_samples(built / "dataset")]
    assert len(samples) > 8
    for known, members in samples:
        assert members == {"source.png", "json"}
        assert all(known[name] for name in ("instruction", "source_caption", "target_caption", "reverse_instruction"))


def test_killed_training_resumes_as_if_it_had_run_through(built, trained, tmp_path):
    values = json.dumps(settings(built, tmp_path / "killed").model_dump(mode="json", exclude_unset=True))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, values], cwd=ROOT, env=ENVIRONMENT)
    kill_at_step(process, tmp_path / "killed")
    resumed = train(settings(built, tmp_path / "killed"), resume=True)
    assert curve(tmp_path / "killed") == curve(trained.parent)
    found, expected = (load_file(model / "model.safetensors") for model in (resumed.model, trained))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_previews_show_the_region_beside_the_edit(built, tmp_path):
    run_on = {**RUN_ON, "preview_every": 1, "preview_samples": 2, "preview": {"num_steps": 1, "guidance_scale": 1.0}}
    train(settings(built, tmp_path, steps=1, run_on=run_on))
    (preview,) = (tmp_path / "previews").glob("*.png")
    assert Image.open(preview).size == (4 * 64, 2 * 64)  # source, heat map and outline, edit


@pytest.mark.parametrize("generator", ["zoo:sd-inpaint", "zoo:sd"])
def test_any_generator_repaints_the_region_and_nothing_else(images, tmp_path, generator):
    model = save_region_head(tmp_path / "head", scale=30)
    assert run("segment", images[0], "remove the car", "--model", model, "--out", tmp_path) == 0
    inside = pixels(tmp_path / f"{images[0].stem}.mask.png")[..., 0] > 0
    assert 0 < inside.mean() < 1
    flags = ("--generator", generator, "--set", "num_steps=2", "--set", "margin_frac=0.0", "--out", tmp_path / "o.png")
    texts = ("remove the car", "--target-caption", "a beach")
    assert run("edit", images[0], *texts, "--model", model, *flags) == 0
    is_changed = (pixels(tmp_path / "o.png") != pixels(images[0])).any(-1)
    assert not is_changed[~inside].any()
    assert is_changed[inside].mean() > 0.5


def test_server_with_openais_interface_repaints_the_region(images, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 255)).save(buffer, "PNG")
    answer = {"data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode()}]}
    model = save_region_head(tmp_path / "head", scale=30)
    with image_server(lambda _form: (200, answer)) as server:
        flags = ("--generator", server.model_id, "--out", tmp_path / "o.png")
        texts = ("remove the car", "--target-caption", "a beach")
        assert run("edit", images[0], *texts, "--model", model, *flags) == 0
    assert server.asked[0][2]["prompt"] == b"a beach"
    is_painted = (pixels(tmp_path / "o.png") == (255, 0, 255)).all(-1)
    assert 0 < is_painted.mean() < 1
    np.testing.assert_array_equal(pixels(tmp_path / "o.png")[~is_painted], pixels(images[0])[~is_painted])


def test_trained_head_is_evaluated_and_masks_for_another_editor(built, trained, images, tmp_path):
    flags = ("--set", "num_steps=1", "--set", "guidance_scale=1.0", "--clip", "zoo:clip", "--no-baselines")
    folder = images[0].parent.parent
    assert run("evaluate", "pairs", folder, "--model", f"path:{trained}", *flags, "--out", tmp_path / "own") == 0
    masks = ("--mask-model", f"path:{trained}", "--mask-threshold", "0.5")
    assert run("evaluate", "pairs", folder, "--model", "zoo:sd", *masks, *flags, "--out", tmp_path / "sdedit") == 0
    rows = pq.read_table(tmp_path / "sdedit" / "samples.parquet").to_pylist()
    assert all(row["edit_mask_frac"] is not None for row in rows)


def test_ultraedits_regions_come_from_a_head_by_manifest(world, tmp_path):
    """Pairs are drawn inside predicted regions, and the recipe with regions trains on them."""
    head = save_region_head(tmp_path / "head", bias=-4, scale=60)
    text = (ROOT / "manifests" / "tiny" / "ultraedit-region.toml").read_text()
    before, after = text.index('[[stage]]\nuse = "choose_object"'), text.index('[[stage]]\nuse = "synthesise_region"')
    text = f'{text[:before]}[[stage]]\nuse = "predict_region"\nmodel = "{head}"\n\n{text[after:]}'
    text = text.replace("max_candidates = 4", "max_candidates = 1").replace("keep = 2", "keep = 1")
    text = re.sub(r"(bounds\.\w+ = \{ min = )0\.\d+", r"\1-1.0", text.replace("num_steps = [10]", "num_steps = [2]"))
    text = text.replace(
        'use = "synthesise_region"', 'use = "synthesise_region"\nbounds.pair_direction_cos = { min = -1.0 }'
    )
    manifest = tmp_path / "regions.toml"
    manifest.write_text(text)
    code, _, printed = build(
        tmp_path / "out", "--executor", "inprocess", shards=world, manifest=manifest, env=ENVIRONMENT
    )
    assert code == 0, printed[-2000:]
    regions = [members["region_mask.png"] for _, members in read_samples(tmp_path / "out" / "dataset")]
    assert regions
    assert any(0 < mask_array(png).mean() < 1 for png in regions)
    values = {"data": str(tmp_path / "out" / "dataset"), "model": "zoo:sd", "out": tmp_path / "t", "size_px": 64,
              "steps": 1, "region": True, "run_on": RUN_ON}  # fmt: skip
    assert train(make_recipe(find_recipe("ip2p"), values)).steps == 1


IEDIT = """
name = "masked"
license = "apache-2.0"
[[stage]]
use = "read_edit_triples"
columns = { source_image = "source", target_image = "target" }
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
format = "png"
[[stage]]
use = "normalise_target"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "mask_instruction"
model = "HEAD"
[[stage]]
use = "emit"
"""


def test_iedits_masks_come_from_a_head_by_manifest(tmp_path):
    assert write_edits([str(tmp_path / "edits"), "--count", "3", "--kinds", "change_colour"]) == 0
    manifest = tmp_path / "masked.toml"
    manifest.write_text(IEDIT.replace("HEAD", save_region_head(tmp_path / "head", scale=30)))
    code, _, printed = build(
        tmp_path / "out", "--executor", "inprocess", shards=tmp_path / "edits" / "cases.jsonl", manifest=manifest,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert code == 0, printed[-2000:]
    samples = [members for _, members in read_samples(tmp_path / "out" / "dataset")]
    assert len(samples) == 3
    assert all({"source_mask.png", "target_mask.png"} <= set(members) for members in samples)
    values = {"data": str(tmp_path / "out" / "dataset"), "model": "zoo:sd", "out": tmp_path / "t", "size_px": 64,
              "steps": 1, "clip_model": "zoo:clip", "perceptual_model": "zoo:dino", "run_on": RUN_ON}  # fmt: skip
    assert train(make_recipe(find_recipe("iedit"), values)).steps == 1
