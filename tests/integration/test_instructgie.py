"""InstructGIE in very small: the tiny manifest's data, a killed training, edits by example, held-out pairs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from _builds import build
from _killed_trainings import curve, kill_at_step
from PIL import Image
from safetensors.torch import load_file

from cli import exits
from cli.main import app
from samples.shards import read_shards
from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes.instructgie.recipe import InstructGie
from zoo.dataset_shards import read_samples
from zoo.write_visual_prompts import main as write_prompts
from zoo.write_world import main as write_world

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
STEPS = 5
SETTINGS = {
    "model": "zoo:sd", "clip_model": "zoo:clip", "size_px": 32, "steps": STEPS, "seed": 4, "ema_decay": 0.9,
    "hint_width": 8, "hint_depth": 1, "trained": "decoder", "text_dropout": 0.2, "example_dropout": 0.2,
    "learning_rate": 0.01,
}  # fmt: skip
RUN_ON = {"batch_size": 3, "checkpoint_every": 2, "preview_every": 0, "device": "cpu"}
SCRIPT = """
import json
import sys

from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes.instructgie.recipe import InstructGie

train(make_recipe(InstructGie, json.loads(sys.argv[1])))
"""
HELD_OUT = ("in_domain", "out_of_domain")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The run folder and the summary of the tiny manifest on few scenes, with few steps and bounds that these pass."""
    folder = tmp_path_factory.mktemp("built")
    flags = ["--shards", "2", "--scenes-per-shard", "8", "--seed", "5"]
    assert write_world([str(folder / "w"), *flags, "--captions", "canonical", "--max-things", "1", "--plain"]) == 0
    text = (ROOT / "manifests" / "tiny" / "instructgie.toml").read_text()
    text = text.replace("num_steps = [10]", "num_steps = [2]").replace("max_candidates = 3", "max_candidates = 1")
    text = text.replace("min_corpus_count = 2", "min_corpus_count = 1")
    text = re.sub(r"(bounds\.\w+ = \{ min = )0\.\d+", r"\1-1.0", text)
    looser = ["bounds.pair_direction_cos = { min = -1.0 }", "bounds.pair_dino_cos = { min = -1.0 }"]
    for stage, lines in (("synthesise_pair", looser), ("group_by_instruction", ["in_domain_frac = 0.1"])):
        text = text.replace(f'use = "{stage}"', "\n".join([f'use = "{stage}"', *lines]))
    manifest = folder / "small.toml"
    manifest.write_text(text)
    code, summary, printed = build(
        folder / "out", "--executor", "inprocess", shards=folder / "w", manifest=manifest, env=ENVIRONMENT
    )
    assert code == 0, printed[-2000:]
    return folder / "out", summary


def test_every_row_is_kept_or_counted_as_a_reject(built):
    out, summary = built
    for stage in summary["stages"]:
        assert stage["rows_in"] == stage["rows_kept"] + sum(stage["rejects"].values())
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert pq.read_table(out / "dataset" / "samples.parquet").num_rows == stages["emit"]["rows_out"] > 5


def test_pair_has_the_images_of_others_of_its_instruction(built):
    dataset = dict(read_samples(built[0] / "dataset"))
    light = {key: json.loads(members["json"]) for key, members in dataset.items()}
    assert {one["split"] for one in light.values()} == {"train", *HELD_OUT}
    for key, members in dataset.items():
        ids = light[key]["example_ids"]
        assert key not in ids
        for number, other in enumerate(ids):
            mark = str(number or "")
            for side in ("source", "target"):
                assert members[f"example_{side}{mark}.png"] == dataset[other][f"{side}.png"]
            assert light[other]["instruction_group"] == light[key]["instruction_group"]
            wanted = "out_of_domain" if light[key]["split"] == "out_of_domain" else "train"
            assert light[other]["split"] == wanted


def test_no_held_out_instruction_or_image_is_trained_on(built):
    rows = list(read_samples(built[0] / "dataset"))
    light = [json.loads(members["json"]) for _, members in rows]
    trained = {one["unified_instruction"] for one in light if one["split"] == "train"}
    assert not trained & {one["unified_instruction"] for one in light if one["split"] == "out_of_domain"}
    images = {split: set() for split in ("train", *HELD_OUT)}
    for (_, members), one in zip(rows, light, strict=True):
        images[one["split"]] |= {members["source.png"]}
    assert not images["train"] & (images["in_domain"] | images["out_of_domain"])


def test_training_reads_the_split_train_alone(built, tmp_path):
    dataset = read_shards(built[0] / "dataset")
    counts = {name: sum(dict(shard.splits).get(name, 0) for shard in dataset.shards) for name in ("train", *HELD_OUT)}
    assert min(counts.values()) > 0
    values = {**SETTINGS, "data": str(built[0] / "dataset"), "out": tmp_path, "steps": 1, "run_on": RUN_ON}
    result = train(make_recipe(InstructGie, values))
    known = json.loads((result.model / "editloom.json").read_text())
    assert known["dataset"]["num_samples"] == counts["train"]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """A dataset of exact edits, and held-out edits with examples."""
    folder = tmp_path_factory.mktemp("prompts")
    argv = [str(folder / "data"), "--requests", "5", "--size-px", "32", "--cases", str(folder / "cases")]
    assert write_prompts([*argv, "--num-cases", "2"]) == 0
    return folder


def settings(data, out):
    return make_recipe(InstructGie, {**SETTINGS, "data": str(data), "out": out, "run_on": RUN_ON})


def weights(model):
    files = [model / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "controlnet")]
    return [load_file(file) for file in files]


@pytest.fixture(scope="module")
def trained(prompts, tmp_path_factory):
    return train(settings(prompts / "data", tmp_path_factory.mktemp("trained") / "through")).model


def test_killed_training_resumes_as_if_it_had_run_through(prompts, trained, tmp_path):
    values = json.dumps(settings(prompts / "data", tmp_path / "killed").model_dump(mode="json", exclude_unset=True))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, values], cwd=ROOT, env=ENVIRONMENT)
    kill_at_step(process, tmp_path / "killed")
    resumed = train(settings(prompts / "data", tmp_path / "killed"), resume=True)
    assert curve(tmp_path / "killed") == curve(trained.parent)
    for found, expected in zip(weights(resumed.model), weights(trained), strict=True):
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def run(*argv):
    return exits.run(app, [str(one) for one in argv])


def test_edit_by_example_and_instruction_from_the_command_line(prompts, trained, tmp_path, caplog):
    caplog.set_level("INFO")
    images = prompts / "cases" / "in-domain" / "images"
    source, before, after = (images / f"0000.{name}.png" for name in ("source", "before", "after"))
    editing = ("--model", f"path:{trained}", "--set", "num_steps=2", "--set", "guidance_scale=2.0", "--seed", "3")
    found = []
    for name, flags in {
        "one": ["--example", before, after],
        "two": ["--example", before, after, "--example", after, before],
        "none": [],
    }.items():
        assert (
            run("edit", source, "please paint the car blue", *editing, "--out", tmp_path / f"{name}.png", *flags) == 0
        )
        found.append(Image.open(tmp_path / f"{name}.png").tobytes())
    assert len(set(found)) == 3
    assert "the instruction 'please paint the car blue' is read as 'make the car blue'" in caplog.messages


def test_evaluation_gives_the_editor_examples(prompts, trained, built, tmp_path):
    settings = ("num_steps=4", "guidance_scale=1.0", "control_scale=20.0")  # so few steps of training show little
    editing = ("--model", f"path:{trained}", *(word for one in settings for word in ("--set", one)))
    data, cases = ("held_out_pairs", built[0] / "dataset"), ("pairs", prompts / "cases" / "out-of-domain")
    images = {}
    for name, (benchmark, folder), more in (
        ("none", data, ("--set", "benchmark.max_examples=0")),
        ("one", data, ("--set", "benchmark.max_examples=1")),
        ("pairs", cases, ()),
    ):
        out = tmp_path / name
        flags = (*editing, *more, "--clip", "zoo:clip", "--out", out, "--no-baselines")
        assert run("evaluate", benchmark, folder, *flags) == 0
        images[name] = {path.name: Image.open(path).tobytes() for path in (out / "outputs").rglob("*.png")}
    assert images["pairs"]
    assert images["none"].keys() == images["one"].keys() != set()
    assert all(images["one"][name] != image for name, image in images["none"].items())
    assert {"all", *HELD_OUT} <= set(json.loads((tmp_path / "one" / "scores.json").read_text())["sections"])
