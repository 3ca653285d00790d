"""Held-out pairs of a dataset: which are read, with what, and what is refused."""

import json

import pytest
from _datasets import encoded, sample_members, write_tar

from core.errors import EvaluationError
from evaluation.benchmarks.held_out_pairs import HeldOutPairs
from samples.shards import parse_shards

SPLITS = ("train", "in_domain", "out_of_domain", "train", "out_of_domain")


def members(index):
    found = sample_members(index)
    light = json.loads(found["json"]) | {"split": SPLITS[index]}
    names = [f"example_{side}{number}.png" for number in ("", "1") for side in ("source", "target")]
    example = {name: encoded(_grey(index * 10 + place), "PNG") for place, name in enumerate(names)}
    return found | example | {"json": json.dumps(light).encode()}


def _grey(value):
    import numpy as np

    return np.full((8, 8, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two shards: three samples, and two."""
    import hashlib

    shards, index = [], 0
    for number, count in enumerate((3, 2)):
        name, rows = f"{number:05d}.tar", range(index, index + count)
        write_tar(tmp_path / name, {f"{i:05d}": members(i) for i in rows})
        content = (tmp_path / name).read_bytes()
        splits = {one: sum(SPLITS[i] == one for i in rows) for one in {SPLITS[i] for i in rows}}
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"file": name, "samples": count, "bytes": len(content), "sha256": digest, "splits": splits})
        index += count
    (tmp_path / "shards.json").write_text(json.dumps({"dataset": "tiny", "shards": shards}))
    return tmp_path


def refusal(folder, **settings):
    with pytest.raises(EvaluationError) as caught:
        HeldOutPairs(**settings).read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_held_out_pairs_alone_are_read(folder):
    found = HeldOutPairs().read(folder)
    assert [case.key for case in found.cases] == [one.key for one in found.samples] == ["00001", "00002", "00004"]
    assert [one.sections for one in found.samples] == [("all", name) for name in SPLITS if name != "train"]
    case, sample, wanted = found.cases[0], found.samples[0], members(1)
    light = json.loads(wanted["json"])
    assert (case.source, sample.reference) == (wanted["source.jpg"], wanted["target.jpg"])
    assert (case.instruction, case.target_caption) == (light["instruction"], light["target_caption"])
    assert case.examples == ((wanted["example_source.png"], wanted["example_target.png"]),)
    assert sample.facts == {"edit_type": light["edit_type"]}


def test_splits_examples_and_limit_are_settings(folder):
    found = HeldOutPairs(splits=("out_of_domain",), max_examples=2).read(folder, limit=1)
    assert [case.key for case in found.cases] == ["00002"]
    assert len(found.cases[0].examples) == 2
    assert HeldOutPairs(max_examples=0).read(folder).cases[0].examples == ()


def test_dataset_without_such_pairs_says_what_it_has(folder):
    text = refusal(folder, splits=("test",))
    assert "holds no pair of the splits test (it has: in_domain, out_of_domain, train)" in text
    plain = json.loads((folder / "shards.json").read_text())
    for shard in plain["shards"]:
        del shard["splits"]
    (folder / "shards.json").write_text(json.dumps(plain))
    assert parse_shards((folder / "shards.json").read_bytes(), "x").num_samples == 5
    assert "(it has: none)" in refusal(folder)


def test_altered_tar_is_refused(folder):
    path = folder / "00000.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "it is not the file that was built" in refusal(folder)


@pytest.mark.parametrize(("change", "message"), [
    ({"json": b"no json"}, "its json cannot be read"), ({"json": b"[]"}, "its json is no object"),
    ({"json": None}, "its json cannot be read"), ({"target.jpg": None}, "it has no source or no target image"),
])  # fmt: skip
def test_damaged_sample_is_named(tmp_path, change, message):
    import hashlib

    found = {name: content for name, content in (members(1) | change).items() if content is not None}
    write_tar(tmp_path / "0.tar", {"00001": found})
    content = (tmp_path / "0.tar").read_bytes()
    entry = {"file": "0.tar", "samples": 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
             "splits": {"in_domain": 1}}  # fmt: skip
    (tmp_path / "shards.json").write_text(json.dumps({"dataset": "tiny", "shards": [entry]}))
    text = refusal(tmp_path)
    assert message in text
    assert "0.tar, sample 00001" in text
