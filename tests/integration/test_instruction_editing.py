"""Editors by instruction through both commands: the miniature network, widened with random channels."""

import json
import shutil

import numpy as np
import pytest
from _checkpoints import save_pix2pix
from _folders import magicbrush_folder, save
from PIL import Image

from cli.exits import run
from cli.main import app
from models.schemes.zoo import ZOO

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = ["--set", "num_steps=2"]
TURNS = ["139/139_1.png", "140/140_1.png", "140/140_inde_2.png", "140/140_iter_2.png"]
"""Outputs of a session of one turn and of one of two."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {
        channels: save_pix2pix(tmp_path_factory.mktemp(f"model{channels}"), ZOO / "sd", channels=channels)
        for channels in (8, 12)
    }


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return magicbrush_folder(tmp_path_factory.mktemp("test"), turns=(1, 2))


@pytest.fixture
def evaluated(models, benchmark, tmp_path, capsys):
    """Runs an evaluation: gives its scores and the pixels of its outputs by name."""

    def call(channels, name, *flags):
        out = tmp_path / name
        argv = [str(benchmark), "--out", str(out), "--model", f"path:{models[channels]}", *STEPS, *flags, "--json"]
        assert run(app, ["evaluate", "magicbrush", *argv]) == 0
        found = {path.relative_to(out / "outputs").as_posix(): pixels(path) for path in out.rglob("*.png")}
        return json.loads(capsys.readouterr().out), found

    return call


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


def difference(one, other):
    return np.abs(one - other).max()


def is_part(name, benchmark):
    """True where the region of an output is not the whole image."""
    session, turn = name[:3], name[-5]
    alpha = np.asarray(Image.open(benchmark / "images" / session / f"{session}-mask{turn}.png"))[..., 3]
    return bool(alpha.any())


@pytest.mark.parametrize("channels", [8, 12])
def test_both_protocols_are_scored_without_regions(evaluated, channels):
    scores, outputs = evaluated(channels, "whole")
    assert {name: section["num_samples"] for name, section in scores["sections"].items()} == {
        "single_turn": 3, "multi_turn": 2,
    }  # fmt: skip
    assert sorted(outputs) == TURNS
    assert scores["editor"]["needs"] == ["instruction"]
    assert scores["editor"]["masks"] == "none"
    # the second turn is edited from the true result, and from the editor's own
    assert difference(outputs["140/140_inde_2.png"], outputs["140/140_iter_2.png"]) > 5


def test_the_regions_of_the_benchmark_reach_a_network_that_takes_them(evaluated, benchmark):
    _, whole = evaluated(12, "whole")
    scores, given = evaluated(12, "given", "--given-masks")
    assert scores["editor"]["masks"] == "given"
    assert sorted(given) == TURNS
    assert [name for name in TURNS if is_part(name, benchmark)] == ["140/140_1.png"]
    changed = [name for name in TURNS if difference(whole[name], given[name]) > 0]
    assert changed == ["140/140_1.png", "140/140_iter_2.png"]  # the second of them starts from the first


def test_regions_for_a_network_that_takes_none_are_refused(models, benchmark, tmp_path, capsys):
    argv = [str(benchmark), "--out", str(tmp_path), "--model", f"path:{models[8]}", "--given-masks"]
    assert run(app, ["evaluate", "magicbrush", *argv]) == 2
    assert "takes no mask (it takes instruction); leave it out" in capsys.readouterr().err


def test_images_are_edited_by_instruction_and_region(models, tmp_path, capsys, caplog):
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, path in enumerate(images):
        save(np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8), path)
    save(np.uint8([[255] * 32 + [0] * 32] * 48), tmp_path / "mask.png")

    def edited(name, *flags):
        argv = [*map(str, images), "make it snow", "--model", f"path:{models[12]}", "--out", str(tmp_path / name)]
        assert run(app, ["edit", *argv, *STEPS, *flags]) == 0
        return [pixels(path) for path in capsys.readouterr().out.split()]

    region = ("--mask", str(tmp_path / "mask.png"))
    whole, masked = edited("whole"), edited("masked", *region)
    assert [image.shape for image in whole] == [(48, 64, 3)] * 2
    assert [text for text in caplog.messages if "is given none" in text] == [
        f"path:{models[12]} was trained with masks and is given none: each image may change as a whole"
    ]
    assert min(map(difference, whole, masked)) > 0
    guided = edited("guided", *region, "--set", "guidance_scale=3", "--set", "image_guidance_scale=2")
    assert min(map(difference, masked, guided)) > 0
    seeded = edited("seeded", *region, "--seed", "0", "--seed", "9", "--batch-size", "1")
    assert difference(masked[0], seeded[0]) <= 1
    assert difference(masked[1], seeded[1]) > 1


def test_a_checkpoint_of_another_width_is_refused_in_a_line(models, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(models[12], folder)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("Region", ""))
    save(np.zeros((64, 64, 3), np.uint8), tmp_path / "a.png")
    argv = [str(tmp_path / "a.png"), "x", "--model", f"path:{folder}", "--out", str(tmp_path / "o.png")]
    assert run(app, ["edit", *argv]) == 2
    assert f"the UNet of model 'path:{folder}' takes 12 channels, its kind of editor 8" in capsys.readouterr().err
