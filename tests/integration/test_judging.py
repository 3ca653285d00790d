"""Builds that judge: what is asked again after which change, on both executors, and after a kill."""

import json
import os
import subprocess
import threading

import pyarrow.parquet as pq
import pytest
from _builds import ROOT, build, command
from _openai_server import chat_server, completion

from evaluation.calibration.scored_rows import read_scored
from zoo.write_published import main

COUNT = 8
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
GOOD = json.dumps({
    f"{name}_{part}": value for name in ("instruction", "preservation", "quality")
    for part, value in (("reason", "so"), ("score", 8))
})  # fmt: skip
CHAIN = """
name = "judged"
seed = {seed}
[[stage]]
use = "read_edit_triples"
rows_per_shard = 4
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
format = "png"
[[stage]]
use = "normalise_target"
[[stage]]
use = "dedup"
max_distance = {distance}
[[stage]]
use = "judge_edit"
model = "{model}"
run_on = {{ rows_per_batch = 2 }}
[[stage]]
use = "select"
bounds.judge_score = {{ min = {least} }}
[[stage]]
use = "emit"
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "in"
    assert main([str(folder), "--layout", "ultraedit", "--count", str(COUNT), "--seed", "4"]) == 0
    return folder


def manifest(tmp_path, model, *, seed=0, distance=0, least=5.0):
    path = tmp_path / "judged.toml"
    path.write_text(CHAIN.format(model=model, seed=seed, distance=distance, least=least))
    return path


def built(tmp_path, table, model, *flags, **changes):
    path = manifest(tmp_path, model, **changes)
    code, summary, printed = build(
        tmp_path / "run", *(flags or ("--executor", "inprocess")), shards=table, manifest=path, env=ENVIRONMENT
    )
    assert code == 0, printed[-2000:]
    return summary


def rows(tmp_path):
    return pq.read_table(tmp_path / "run" / "dataset" / "samples.parquet")


def files(tmp_path):
    dataset = tmp_path / "run" / "dataset"
    return {path.name: path.read_bytes() for path in dataset.iterdir()}


def test_only_what_the_judge_has_not_seen_is_asked(tmp_path, table):
    with chat_server(lambda body: (200, completion(GOOD))) as server:
        built(tmp_path, table, server.model_id)
        assert (len(server.asked), rows(tmp_path).num_rows) == (COUNT, COUNT)
        built(tmp_path, table, server.model_id)  # nothing to do
        built(tmp_path, table, server.model_id, least=2.0)  # another bound
        assert (len(server.asked), rows(tmp_path).num_rows) == (COUNT, COUNT)
        again = built(tmp_path, table, server.model_id, distance=1)  # judged anew, from the same images
        judge = next(stage for stage in again["stages"] if stage["stage"] == "judge_edit")
        assert (judge["cached"], judge["rows_in"]) == (0, rows(tmp_path).num_rows)
        assert len(server.asked) == COUNT
        built(tmp_path, table, server.model_id, distance=1, seed=1)  # another seed
        assert len(server.asked) > COUNT


def test_calibration_counts_every_judged_row_of_a_dataset(tmp_path, table):
    replies = iter(["no", *[GOOD.replace("8", "2")] * 2])

    def answer(_body):
        return 200, completion(next(replies, GOOD))

    with chat_server(answer) as server:
        built(tmp_path, table, server.model_id)
    found = read_scored(str(tmp_path / "run" / "dataset"), "judge_score")
    scores = sorted(found.score_N.tolist(), key=str)
    assert [str(score) for score in scores] == ["2.0", "2.0", *["8.0"] * (COUNT - 3), "nan"]
    assert found.left_out == {}


def test_kept_answers_give_the_bytes_of_a_first_run(tmp_path, table):
    with chat_server(lambda body: (200, completion(GOOD))) as server:
        built(tmp_path, table, server.model_id)
        first = files(tmp_path)
        for folder in (tmp_path / "run" / "stages").iterdir():
            if folder.name.startswith("judge_edit-"):
                (folder / "records.jsonl").unlink()
        built(tmp_path, table, server.model_id, "--executor", "processes", "--workers", "2")
        assert len(server.asked) == COUNT
        assert files(tmp_path) == first


def test_a_killed_build_asks_again_at_most_for_its_batches(tmp_path, table):
    reached, leave = threading.Event(), threading.Event()

    def answer(body):
        if len(server.asked) > 4 and not leave.is_set():
            reached.set()
            leave.wait(30)
        return 200, completion(GOOD)

    with chat_server(answer) as server:
        line = command(
            tmp_path / "run", "--executor", "inprocess", shards=table, manifest=manifest(tmp_path, server.model_id)
        )
        process = subprocess.Popen(
            line, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert reached.wait(60)
        process.kill()
        process.wait()
        leave.set()
        before = len(server.asked)
        built(tmp_path, table, server.model_id)
        assert before <= len(server.asked) <= before + COUNT - 4
        assert rows(tmp_path)["judge_score"].to_pylist() == [8.0] * COUNT
    kept = list((tmp_path / "run" / "answers" / "judge_edit").iterdir())
    assert all(path.suffix == ".jsonl" for path in kept)


def test_the_tiny_manifest_judges_by_rules_and_keeps_what_is_right(tmp_path, table):
    path = "manifests/tiny/judged.toml"
    flags = ("--executor", "inprocess")
    code, _, printed = build(tmp_path / "run", *flags, shards=table, manifest=path, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    found = rows(tmp_path)
    assert found.num_rows >= COUNT - 1
    assert set(found["judge_status"].to_pylist()) == {"parsed"}
    assert min(found["judge_score"].to_pylist()) >= 7
    assert found["judge_revision"][0].as_py().startswith("v1 sha256:")
    assert set(found["judge_prompt_sha256"].to_pylist()) == {None}
