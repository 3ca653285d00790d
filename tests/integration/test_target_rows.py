"""Builds that end at a number of rows: the same bytes for any number of workers, and after SIGKILL."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from _builds import ROOT, build, command, tars

from pipeline.store.storage import Storage

MANIFEST = """
name = "taken"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "edit_caption_wordnet"
lexicon = "wordnet:3.0"
edits_per_caption = 2
[[stage]]
use = "take_rows"
target_rows = {}
[[stage]]
use = "emit"
"""
WANTED = 120
BY_TYPE = "{ change_colour = 30, replace_noun = 41 }"
NUM_KILLS = 6


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taken")
    for name, target in (("all", WANTED), ("by_type", BY_TYPE), ("too_many", 100_000)):
        (folder / f"{name}.toml").write_text(MANIFEST.format(target))
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Eight shards of different scenes, so that some of them are left over."""
    from zoo.write_world import main

    folder = tmp_path_factory.mktemp("drawn") / "shards"
    main([str(folder), "--shards", "8", "--scenes-per-shard", "14", "--size-px", "64", "--seed", "5"])
    return folder


@pytest.fixture(scope="module")
def undisturbed(manifests, drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "out"
    code, summary, _ = build(out, "--workers", "1", shards=drawn, manifest=manifests / "all.toml")
    assert code == 0
    return out, summary


def files(out):
    """The tars and the tables of samples and rejects, byte for byte."""
    tables = {name: (Path(out) / "dataset" / name).read_bytes() for name in ("samples.parquet", "rejects.parquet")}
    return tars(out) | tables


def test_build_ends_at_exactly_that_many_rows(undisturbed):
    out, summary = undisturbed
    assert summary["quota"]["rows"] == WANTED
    assert summary["quota"]["shards_read"] < summary["quota"]["shards_of_input"] == 8
    assert pq.read_metadata(out / "dataset" / "samples.parquet").num_rows == WANTED


def test_three_workers_take_the_same_rows_as_one(undisturbed, manifests, drawn, tmp_path):
    code, _, _ = build(tmp_path / "out", "--workers", "3", shards=drawn, manifest=manifests / "all.toml")
    assert code == 0
    assert files(tmp_path / "out") == files(undisturbed[0])


def test_killed_builds_take_the_same_rows(undisturbed, manifests, drawn, tmp_path):
    rng = random.Random(3)
    out, num_unfinished = tmp_path / "out", 0
    for number in range(NUM_KILLS):
        line = command(out, "--workers", "2", shards=drawn, manifest=manifests / "all.toml")
        process = subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(1.0 + 0.5 * number + rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_unfinished += (out / "run" / "quota.json").exists() and not (out / "dataset" / "shards.json").exists()
    assert num_unfinished, "no kill found a build at work"
    code, summary, _ = build(out, "--workers", "2", shards=drawn, manifest=manifests / "all.toml")
    assert code == 0
    assert summary["quota"]["rows"] == WANTED
    assert files(out) == files(undisturbed[0])


def test_each_edit_type_has_exactly_its_number(manifests, drawn, tmp_path):
    code, summary, _ = build(tmp_path / "out", shards=drawn, manifest=manifests / "by_type.toml")
    assert code == 0
    assert summary["quota"]["is_met"]
    found = pq.read_table(tmp_path / "out/dataset/samples.parquet")["edit_type"].value_counts().to_pylist()
    assert {one["values"]: one["counts"] for one in found} == {"change_colour": 30, "replace_noun": 41}


def test_input_that_ends_gives_exit_0_and_a_last_line_that_says_so(manifests, drawn, tmp_path):
    line = command(tmp_path / "out", shards=drawn, manifest=manifests / "too_many.toml")
    done = subprocess.run([part for part in line if part != "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("target_rows: the input ended: ")
    assert done.stdout.splitlines()[-1].endswith(" of 100,000 rows, all 8 shards were read")


def test_further_input_is_read_when_it_is_there(manifests, drawn, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for number in range(2):
        shutil.copyfile(drawn / f"{number:05d}.tar", few / f"{number:05d}.tar")
    _, first, _ = build(tmp_path / "out", shards=few, manifest=manifests / "all.toml")
    assert not first["quota"]["is_met"]
    _, second, _ = build(tmp_path / "out", shards=drawn, manifest=manifests / "all.toml")
    assert second["quota"]["is_met"]
    assert Storage(str(tmp_path / "out")).exists("dataset/samples.parquet")
