"""The tiny sessions in very small, every pair kept: what lies in the tars, and the same dataset from other workers."""

import json
import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from _builds import build

from zoo.dataset_shards import read_samples
from zoo.world import read_facts
from zoo.write_world import main as write_world

ROOT = Path(__file__).resolve().parents[2]
SCENES = 4
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SCORES = ("target_caption_cos", "pair_l1", "session_l1", "session_image_cos")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Executor -> the dataset that it built, of sessions whose pairs are all kept."""
    folder = tmp_path_factory.mktemp("sessions")
    flags = ["--shards", "1", "--scenes-per-shard", str(SCENES), "--seed", "5", "--captions", "canonical"]
    assert write_world([str(folder / "in"), *flags, "--max-things", "2", "--plain"]) == 0
    manifest = folder / "sessions.toml"
    shipped = (ROOT / "manifests" / "tiny" / "sessions.toml").read_text(encoding="utf-8")
    lines = [line for line in shipped.splitlines(keepends=True) if not line.startswith("bounds.")]
    text = "".join(lines).replace("num_steps = 10", "num_steps = 2").replace('"path:', f'"path:{ROOT}/')
    manifest.write_text(text, encoding="utf-8")
    found = {}
    for executor in ("inprocess", "processes"):
        out = folder / executor
        code, _, printed = build(out, "--executor", executor, shards=folder / "in", manifest=manifest, env=ENVIRONMENT)
        assert code == 0, printed[-2000:]
        found[executor] = out / "dataset"
    return found


@pytest.fixture(scope="module")
def samples(datasets):
    """(JSON, members) of each sample."""
    found = [members for _, members in read_samples(datasets["inprocess"])]
    return [(json.loads(members["json"]), members) for members in found]


def test_sessions_have_their_turns_in_order_each_on_the_last_result(samples):
    sessions = defaultdict(list)
    for known, members in samples:
        if known["pair_kind"] == "turn":
            sessions[known["session_id"]].append((known, members))
    assert sessions
    for turns in sessions.values():
        assert [known["turn"] for known, _ in turns] == list(range(1, len(turns) + 1))
        assert len(turns) >= 2
        for (before, last), (after, own) in pairwise(turns):
            assert own["source.png"] == last["target.png"]
            assert after["source_caption"] == before["target_caption"]


def test_every_pair_is_scored_and_says_what_it_is(samples):
    assert {known["pair_kind"] for known, _ in samples} == {"turn", "composition", "inverse"}
    for known, _ in samples:
        assert [name for name in SCORES if name not in known] == []
        assert "further_turns" not in known
        assert ("edit_model" in known) == (known["pair_kind"] == "turn")


def test_instruction_of_a_composition_claims_what_its_captions_say(samples):
    composed = [known for known, _ in samples if known["pair_kind"] == "composition"]
    assert composed
    for known in composed:
        assert known["instruction"].count(", then ") == known["turn"] - 1
        before, after = (read_facts(known[name]) for name in ("source_caption", "target_caption"))
        assert before != after


def test_other_workers_give_the_same_bytes(datasets):
    tars = [sorted(folder.glob("*.tar")) for folder in datasets.values()]
    assert tars[0]
    assert [one.read_bytes() for one in tars[0]] == [one.read_bytes() for one in tars[1]]
