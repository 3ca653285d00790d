import json

import numpy as np
import pytest
from _folders import emu_parquet, emu_rows, magicbrush_folder, pairs_folder, rows_of, save
from PIL import Image

from evaluation.benchmarks import BENCHMARKS

pytestmark = pytest.mark.usefixtures("models")

MODEL = ["--model", "zoo:sd"]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_benchmark_is_edited_and_scored(tmp_path, as_json, editloom):
    folder, out = pairs_folder(tmp_path / "pairs", 3), tmp_path / "out"
    flags = ["--given-masks", "--limit", "2", *(["--json"] if as_json else [])]
    code, printed, _ = editloom("evaluate", "pairs", folder, *MODEL, "--out", out, *flags)
    assert code == 0
    if as_json:
        assert json.loads(printed) == json.loads((out / "scores.json").read_text())
        assert json.loads(printed)["sections"]["all"]["num_samples"] == 2
    else:
        assert "all (2)" in printed


def test_each_protocol_reads_its_own_layout(tmp_path, editloom):
    magicbrush, emu = magicbrush_folder(tmp_path / "mb"), emu_parquet(tmp_path / "emu", emu_rows())
    for name, folder, flags in (
        ("magicbrush", magicbrush, ["--only", "multi_turn"]),
        ("emu_edit", emu, ["--set", "benchmark.split=test", "--limit", "2"]),
    ):
        out = tmp_path / "out" / name
        assert editloom("evaluate", name, str(folder), *MODEL, "--out", str(out), *flags)[0] == 0
        assert json.loads((out / "scores.json").read_text())["benchmark"] == name


def test_settings_go_to_the_editor_and_below_benchmark_to_the_benchmark(tmp_path, models, editloom):
    rows = emu_rows()
    rows[0]["split"] = "validation"
    emu, out = emu_parquet(tmp_path / "emu", rows), tmp_path / "out"
    flags = ["--set", "num_steps=4", "--set", "benchmark.split=validation"]
    assert editloom("evaluate", "emu_edit", emu, *MODEL, "--out", out, *flags)[0] == 0
    scores = json.loads((out / "scores.json").read_text())
    assert (scores["notes"]["split"], scores["notes"]["num_rows"]) == ("validation", 1)
    assert scores["editor"]["settings"]["num_steps"] == models[1][3]["settings"].num_steps == 4


def test_ready_outputs_are_scored(tmp_path, editloom):
    folder = pairs_folder(tmp_path / "pairs", 2)
    for row in rows_of(folder):
        save(pixels(folder / row["target"]), tmp_path / "made" / f"{row['key']}.png")
    flags = ["--outputs", str(tmp_path / "made"), "--system", "theirs", "--out", str(tmp_path / "out")]
    assert editloom("evaluate", "pairs", str(folder), *flags)[0] == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (found["system"], found["sections"]["all"]["mean"]["l1"]) == ("theirs", 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["flickr", "f", "--out", "o", *MODEL],
            f"no benchmark is called 'flickr' (known: {', '.join(sorted(BENCHMARKS))})",
        ),
        (["pairs", "f", "--out", "o"], "expected one of --model, which edits, and --outputs, which are there"),
        (["pairs", "f", "--out", "o", *MODEL, "--outputs", "x"], "expected one of --model"),
        (["pairs", "f", *MODEL], "Missing option '--out'"),
        (
            ["pairs", "f", "--out", "o", *MODEL, "--set", "benchmark.split=test"],
            "benchmark pairs: unknown key 'split' (there are none)",
        ),
        (
            ["emu_edit", "f", "--out", "o", *MODEL, "--set", "benchmark.spit=test"],
            "benchmark emu_edit: unknown key 'spit' (did you mean 'split'?)",
        ),
        (
            ["pairs", "f", "--out", "o", *MODEL, "--set", "benchmark=test"],
            "--set benchmark=test is no setting; expected benchmark.key=value",
        ),
        (
            ["pairs", "f", "--out", "o", "--outputs", "x", "--set", "num_steps=4"],
            "--set num_steps is a setting of an editor, and --outputs has none; leave it out",
        ),
        (
            ["pairs", "f", "--out", "o", *MODEL, "--given-masks", "--mask-model", "m"],
            "both say where images may change",
        ),
    ],
)
def test_wrong_usage_of_evaluate_is_one_line_and_exits_2(flags, message, refused):
    assert message in refused("evaluate", *flags, code=2)


def test_failure_of_evaluate_is_one_line_and_exits_1(tmp_path, refused):
    out = ["--out", tmp_path / "out", *MODEL]
    assert "cases.jsonl cannot be read" in refused("evaluate", "pairs", tmp_path, *out, code=1)
    folder = pairs_folder(tmp_path / "pairs", 2)
    message = refused("evaluate", "pairs", folder, *out, "--clip", "zoo:clap", code=1)
    assert "no model is called 'zoo:clap'" in message
    message = refused("evaluate", "pairs", folder, *out, "--clip", "zoo:dino", code=1)
    assert "is of kind 'dinov2', which cannot serve ImageTextEncoder" in message
