"""Held-out pairs of a dataset: which are read, with what, and what is refused."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
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
    return np.full((8, 8, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two shards: three samples, and two."""
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


def one_tar(folder, samples, **splits):
    """A dataset of one tar with these (key, members), and what its list says of splits."""
    path = folder / "0.tar"
    write_tar(path, SimpleNamespace(items=lambda: samples))
    content = path.read_bytes()
    entry = {"file": path.name, "samples": sum(splits.values()), "bytes": len(content), "splits": splits,
             "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip
    (folder / "shards.json").write_text(json.dumps({"dataset": "tiny", "shards": [entry]}))
    return folder


def with_light(**change):
    found = members(1)
    return found | {"json": json.dumps(json.loads(found["json"]) | change).encode()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"json": b"no json"}, "its json cannot be read"),
        ({"json": b"[]"}, "its json is no object"),
        ({"json": None}, "its json cannot be read"),
        ({"target.jpg": None}, "it has no source or no target image"),
        (with_light(instruction=5), "field 'instruction' is 5; expected text"),
        (with_light(source_caption={"a": 1}), "field 'source_caption' is {'a': 1}; expected text"),
        (with_light(edit_type=["x"]), "field 'edit_type' is ['x']; expected text"),
        (with_light(split=["in_domain"]), "field 'split' is ['in_domain']; expected text"),
        (with_light(instruction="a\ud800"), "field 'instruction' has half of a surrogate pair"),
    ],
)
def test_damaged_sample_is_named(tmp_path, change, message):
    found = {name: content for name, content in (members(1) | change).items() if content is not None}
    text = refusal(one_tar(tmp_path, [("00001", found)], in_domain=1))
    assert message in text
    assert "0.tar, sample 00001" in text


def test_repeated_key_is_refused(tmp_path):
    samples = [(key, members(1)) for key in ("a", "a2", "a")]
    text = refusal(one_tar(tmp_path, samples, in_domain=3))
    assert "0.tar, sample a: there is another sample of this key; expected each key once" in text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("/a", "names '/a'; expected the name of a file below"),
        ("a\udcff", "sample a\udcff has half of a surrogate pair"),
    ],
)
def test_key_that_names_no_file_is_refused(tmp_path, key, message):
    assert message in refusal(one_tar(tmp_path, [(key, members(1))], in_domain=1))


def test_tar_with_other_counts_than_listed_is_refused(tmp_path):
    text = refusal(one_tar(tmp_path, [("a", members(1)), ("b", members(3))], in_domain=2))
    assert "0.tar holds in_domain 1, train 1; shards.json says in_domain 2; build the dataset again" in text


def test_nothing_is_read_behind_the_limit(folder):
    path = folder / "00001.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert [case.key for case in HeldOutPairs().read(folder, limit=2).cases] == ["00001", "00002"]
    assert "it is not the file that was built" in refusal(folder)
