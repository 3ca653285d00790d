"""iEdit from a table of addresses to a trained editor, in very small: what `make build-dataset` and the README do."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from _kernels import environment_of

from cli import exits
from cli.main import app
from zoo.write_edits import EditOrder, write_edits

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
EDITLOOM = [PYTHON, "-c", "from cli.main import main; main()"]
MANIFEST = ROOT / "manifests" / "tiny" / "iedit.toml"
NUM_SCENES = 120


def run(*command, kernel="HASWELL"):
    """One thread for each process, as Ray gives its workers: sums of floats depend on the number of threads."""
    done = subprocess.run(
        [PYTHON, "-m", *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=250,
        env=environment_of(kernel) | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(folder of the world, port its images are served at, manifest for so few scenes)."""
    folder = tmp_path_factory.mktemp("iedit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = ["--shards", 2, "--scenes-per-shard", NUM_SCENES // 2, "--seed", 7, "--size-px", 64]
    run("zoo.write_world", folder / "laion", "--layout", "laion", *world, "--base-url", f"http://127.0.0.1:{port}")
    text = MANIFEST.read_text().replace("rows_per_shard = 750", "rows_per_shard = 50")
    text = text.replace('vocabulary = "corpus"', 'vocabulary = "corpus"\nmin_corpus_count = 2')
    text = re.sub(r"(target_margin_cos = \{ min =) [\d.]+", r"\1 0.0", text)
    (folder / "iedit.toml").write_text(text)
    return folder, port


def build(served, out, executor, kernel="HASWELL"):
    folder, port = served
    arguments = ["build", folder / "iedit.toml", "--shards", folder / "laion" / "metadata", "--out", out, "--json"]
    command = ["zoo.serve", folder / "laion", "--port", port, "--", *EDITLOOM, *arguments, "--executor", executor]
    printed = run(*command, kernel=kernel)
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def built(served, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    return build(served, out, "inprocess"), out


def test_every_row_of_the_tables_is_a_pair_or_a_reject(built):
    summary, out = built
    assert summary["ok"]
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert stages["read_laion"]["rows_in"] == NUM_SCENES
    for stage in summary["stages"]:
        assert stage["rows_in"] == stage["rows_kept"] + sum(stage["rejects"].values())
    samples = pq.read_table(out / "dataset" / "samples.parquet")
    assert samples.num_rows == stages["emit"]["rows_out"] > 10
    ids = zip(samples["sample_id"].to_pylist(), samples["target_id"].to_pylist(), strict=True)
    assert all(own[:16] != target for own, target in ids)


def test_a_second_build_downloads_and_does_nothing(served, built):
    assert build(served, built[1], "inprocess")["nothing_to_do"]


@pytest.mark.ray
def test_ray_and_another_blas_kernel_build_the_same_tars(served, built, tmp_path):
    assert build(served, tmp_path, "ray", kernel="SKYLAKEX")["ok"]
    ours, theirs = (json.loads((out / "dataset" / "shards.json").read_text()) for out in (tmp_path, built[1]))
    assert ours == theirs


def test_an_editor_is_trained_on_it_and_edits(built, tmp_path):
    train = [
        "train", "--recipe", "iedit", "--data", built[1] / "dataset", "--model", "zoo:sd", "--out", tmp_path / "iedit",
        "--steps", 2, "--batch-size", 2, "--set", "size_px=64", "--set", "clip_model=zoo:clip",
        "--set", "perceptual_model=zoo:dino", "--set", "run_on.preview_every=0",
    ]  # fmt: skip
    assert exits.run(app, [str(one) for one in train]) == 0
    write_edits(tmp_path / "edits", EditOrder(2, 0, ("replace_noun", "change_colour")))
    evaluate = [
        "evaluate", "pairs", tmp_path / "edits", "--model", f"path:{tmp_path / 'iedit' / 'model'}",
        "--set", "num_steps=4", "--clip", "zoo:clip", "--out", tmp_path / "scores",
    ]  # fmt: skip
    assert exits.run(app, [str(one) for one in evaluate]) == 0
    assert "clip_score@zoo:clip" in (tmp_path / "scores" / "scores.json").read_text()
