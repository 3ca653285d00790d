import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _folders import FakeEditor, emu_parquet, emu_rows, magicbrush_folder, pairs_folder, rows_of, save
from PIL import Image

from cli.edit import edit_main, evaluate_main
from evaluation import edit_files, editors
from models.diffusion.sdedit import SdEditSettings

ROOT = Path(__file__).resolve().parents[3]
MODEL = ["--model", "zoo:sd"]


class LeftHalf:
    def segment_phrases(self, images, phrases):
        assert phrases == ["red car"] * len(images)
        return [np.repeat([[0.9] * (i.width // 2) + [0.1] * (i.width - i.width // 2)], i.height, 0) for i in images]


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What models were loaded with, and the fake editor."""
    fake, calls = FakeEditor(), []

    def load(protocol, model_id, placement, **settings):
        calls.append((protocol, model_id, placement.batch_size, settings))
        return fake if protocol == "Editor" else LeftHalf()

    for module in (edit_files, editors):
        monkeypatch.setattr(module, "load_model", load)
    calls.append(fake)
    return calls


@pytest.fixture
def images(tmp_path):
    made = [tmp_path / f"{name}.png" for name in "ab"]
    for number, path in enumerate(made):
        save(np.full((8, 10, 3), 40 + number, np.uint8), path)
    return [str(path) for path in made]


def said(capsys, run, argv, code):
    """Standard error of a call that must end with `code`."""
    assert run([str(one) for one in argv]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == (1 if code else 0)
    return err


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_several_images_are_edited_into_a_folder(tmp_path, images, asked, capsys):
    assert (
        edit_main([*images, "a cat", *MODEL, "--out", str(tmp_path / "out"), "--seed", "5", "--batch-size", "3"]) == 0
    )
    out = tmp_path / "out"
    assert capsys.readouterr().out.split() == [str(out / "a.png"), str(out / "b.png")]
    assert (pixels(out / "b.png") == 255 - 41).all()
    assert asked[0].asked == [("a cat", 5, (10, 8))] * 2
    assert asked[1:] == [("Editor", "zoo:sd", 3, {"settings": SdEditSettings()})]


def test_one_image_is_written_to_the_file_that_is_named(tmp_path, images):
    for name in ("x.png", "x.jpg", "deep/x.webp"):
        assert edit_main([images[0], "a cat", *MODEL, "--out", str(tmp_path / name)]) == 0
        assert abs(int(pixels(tmp_path / name)[0, 0, 0]) - 215) <= 2
    assert edit_main([images[0], "a cat", *MODEL, "--out", str(tmp_path / "folder"), "--size-px", "384"]) == 0
    assert (tmp_path / "folder" / "a.png").is_file()


def test_settings_reach_the_editor(tmp_path, images, asked):
    flags = ["--ratio", "0.6", "--steps", "25", "--guidance", "5", "--size-px", "384"]
    assert edit_main([images[0], "a cat", *MODEL, "--out", str(tmp_path / "o"), *flags]) == 0
    settings = SdEditSettings(sampling_ratio=0.6, num_steps=25, guidance_scale=5.0, size_px=384)
    assert asked[1][3] == {"settings": settings}


def test_an_edit_stays_within_a_mask_from_a_file_or_a_phrase(tmp_path, images, asked):
    save(np.uint8([[255] * 5 + [0] * 5] * 8), tmp_path / "mask.png")
    for number, flags in enumerate(
        (["--mask", str(tmp_path / "mask.png")], ["--mask-model", "zoo:clipseg", "--phrase", "red car"])
    ):
        assert edit_main([*images, "a cat", *MODEL, "--out", str(tmp_path / f"out{number}"), *flags]) == 0
        found = pixels(tmp_path / f"out{number}" / "a.png")[0, :, 0]
        assert found.tolist() == [215] * 5 + [40] * 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Missing argument"),
        (["a cat"], "Missing option '--model'"),
        (["a cat", *MODEL], "Missing option '--out'"),
        (["a cat", *MODEL, "--out", "o", "--ratio", "1.2"], "Invalid value for '--ratio'"),
        (["a cat", *MODEL, "--out", "o", "--ratio", "nan"], "Invalid value for '--ratio'"),
        (["a cat", *MODEL, "--out", "o", "--guidance", "inf"], "Invalid value for '--guidance': inf is no finite"),
        (["a cat", *MODEL, "--out", "o", "--guidance", "nan"], "Invalid value for '--guidance'"),
        (["a cat", *MODEL, "--out", "o", "--mask-threshold", "nan"], "Invalid value for '--mask-threshold'"),
        (["a cat", *MODEL, "--out", "o", "--steps", "0"], "Invalid value for '--steps'"),
        (["a cat", *MODEL, "--out", "o", "--steps", "x"], "Invalid value for '--steps'"),
        (["a cat", *MODEL, "--out", "o", "--dtype", "int8"], "dtype 'int8' is not known; expected auto or one of"),
        (["a cat", *MODEL, "--out", "o", "--phrase", "x"], "--mask-model looks for --phrase; give both or neither"),
        (["a cat", *MODEL, "--out", "o", "--mask-model", "zoo:clipseg"], "give both or neither"),
        (
            ["a cat", *MODEL, "--out", "o", "--mask", "m", "--mask-model", "zoo:clipseg", "--phrase", "x"],
            "--mask and --mask-model both say where the image may change; give one of them",
        ),
    ],
)
def test_wrong_usage_of_edit_is_said_in_one_line_and_exits_2(capsys, flags, message):
    assert message in said(capsys, edit_main, ["a.png", *flags], 2)


def test_what_cannot_be_edited_is_said_in_one_line_and_exits_1(tmp_path, images, capsys, monkeypatch):
    out = ["--out", tmp_path / "out"]
    assert said(capsys, edit_main, [tmp_path / "none.png", "a cat", *MODEL, *out], 1).startswith(
        f"editloom edit: image {tmp_path / 'none.png'} cannot be read (No such file or directory)"
    )
    save(np.zeros((3, 3), np.uint8), tmp_path / "m.png")
    message = said(capsys, edit_main, [*images, "a cat", *MODEL, *out, "--mask", tmp_path / "m.png"], 1)
    assert "m.png is 3 x 3 pixels, its image 10 x 8; expected the same size" in message
    save(np.zeros((8, 10), np.uint8), tmp_path / "black.png")
    message = said(capsys, edit_main, [*images, "a cat", *MODEL, *out, "--mask", tmp_path / "black.png"], 1)
    assert "black.png lets nothing change; expected white or transparent pixels somewhere" in message
    assert "is one of the images to edit" in said(
        capsys, edit_main, [images[0], "a cat", *MODEL, "--out", images[0]], 1
    )
    (tmp_path / "deep").mkdir()
    save(np.zeros((8, 8, 3), np.uint8), tmp_path / "deep" / "a.png")
    argv = [images[0], tmp_path / "deep" / "a.png", "a cat", *MODEL, *out]
    assert "several images would be written to " in said(capsys, edit_main, argv, 1)
    monkeypatch.undo()
    argv = [images[0], "a cat", "--model", "zoo:nothing", *out]
    assert "no model is called 'zoo:nothing' (the zoo holds: " in said(capsys, edit_main, argv, 1)
    message = said(capsys, edit_main, [images[0], "a cat", "--model", "zoo:sd-inpaint", *out], 1)
    assert "is of kind 'StableDiffusionInpaintPipeline', which cannot serve Editor" in message
    for device in ("cuda:63", "gpu"):
        message = said(capsys, edit_main, [images[0], "a cat", "--model", "zoo:sd", "--device", device, *out], 1)
        assert message.startswith("editloom edit: model 'zoo:sd' cannot be used: ")


def test_want_of_memory_is_said_in_one_line_with_what_to_lower(tmp_path, images, capsys, monkeypatch):
    def full(*_given, **_more):
        raise torch.OutOfMemoryError("out of memory, tried to allocate 2 GiB")

    monkeypatch.setattr("cli.edit.edit_files", full)
    message = said(capsys, edit_main, [*images, "a cat", *MODEL, "--out", tmp_path / "out"], 1)
    assert message.strip().endswith("tried to allocate 2 GiB; lower --batch-size or --size-px")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_benchmark_is_edited_and_scored(tmp_path, capsys, as_json):
    folder, out = pairs_folder(tmp_path / "pairs", 3), tmp_path / "out"
    flags = ["--given-masks", "--limit", "2", *(["--json"] if as_json else [])]
    assert evaluate_main(["pairs", str(folder), *MODEL, "--out", str(out), *flags]) == 0
    printed = capsys.readouterr().out
    if as_json:
        assert json.loads(printed) == json.loads((out / "scores.json").read_text())
        assert json.loads(printed)["sections"]["all"]["num_samples"] == 2
    else:
        assert "all (2)" in printed


def test_each_protocol_reads_its_own_layout(tmp_path):
    magicbrush, emu = magicbrush_folder(tmp_path / "mb"), emu_parquet(tmp_path / "emu", emu_rows())
    for name, folder, flags in (
        ("magicbrush", magicbrush, ["--only", "multi_turn", "--text", "target_caption"]),
        ("emu_edit", emu, ["--split", "test", "--limit", "2"]),
    ):
        out = tmp_path / "out" / name
        assert evaluate_main([name, str(folder), *MODEL, "--out", str(out), *flags]) == 0
        assert json.loads((out / "scores.json").read_text())["benchmark"] == name
    notes = json.loads((tmp_path / "out" / "magicbrush" / "scores.json").read_text())["notes"]
    assert notes["prompt_text"] == "target_caption"


def test_ready_outputs_are_scored(tmp_path):
    folder = pairs_folder(tmp_path / "pairs", 2)
    for row in rows_of(folder):
        save(pixels(folder / row["target"]), tmp_path / "made" / f"{row['key']}.png")
    flags = ["--outputs", str(tmp_path / "made"), "--system", "theirs", "--out", str(tmp_path / "out")]
    assert evaluate_main(["pairs", str(folder), *flags]) == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (found["system"], found["sections"]["all"]["mean"]["l1"]) == ("theirs", 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["flickr", "f", "--out", "o", *MODEL],
            "'flickr' is not one of",
        ),
        (["pairs", "f", "--out", "o"], "expected one of --model, which edits, and --outputs, which are there"),
        (["pairs", "f", "--out", "o", *MODEL, "--outputs", "x"], "expected one of --model"),
        (["pairs", "f", *MODEL], "Missing option '--out'"),
        (["pairs", "f", "--out", "o", *MODEL, "--split", "test"], "--split belongs to emu_edit; pairs has no splits"),
        (
            ["pairs", "f", "--out", "o", *MODEL, "--given-masks", "--mask-model", "m"],
            "both say where images may change",
        ),
        (["pairs", "f", "--out", "o", *MODEL, "--text", "x"], "Invalid value for '--text'"),
    ],
)
def test_wrong_usage_of_evaluate_is_said_in_one_line_and_exits_2(capsys, flags, message):
    assert message in said(capsys, evaluate_main, flags, 2)


def test_what_cannot_be_evaluated_is_said_in_one_line_and_exits_1(tmp_path, capsys):
    out = ["--out", tmp_path / "out", *MODEL]
    assert "cases.jsonl cannot be read" in said(capsys, evaluate_main, ["pairs", tmp_path, *out], 1)
    folder = pairs_folder(tmp_path / "pairs", 2)
    message = said(capsys, evaluate_main, ["pairs", folder, *out, "--clip", "zoo:clap"], 1)
    assert "no model is called 'zoo:clap'" in message
    message = said(capsys, evaluate_main, ["pairs", folder, *out, "--clip", "zoo:dino"], 1)
    assert "is of kind 'dinov2', which cannot serve ImageTextEncoder" in message


@pytest.mark.parametrize("bug", [KeyError("x"), IndexError("x"), ValueError("x"), AttributeError("x")])
def test_a_bug_is_not_hidden(monkeypatch, images, tmp_path, bug):
    def raises(*_given, **_more):
        raise bug

    monkeypatch.setattr("cli.edit.edit_files", raises)
    with pytest.raises(type(bug)):
        edit_main([images[0], "a cat", *MODEL, "--out", str(tmp_path / "out")])


def test_help_imports_no_heavy_package():
    code = (
        "import sys; from cli.edit import evaluate_main\nassert evaluate_main(['--help']) == 0\n"
        "print([m for m in ('torch', 'transformers', 'diffusers', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip().endswith("[]")
