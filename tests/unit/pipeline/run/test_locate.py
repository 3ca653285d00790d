"""The places of rows by their ids: in parts, with ids that share a hash, and from damaged files."""

import uuid
from dataclasses import replace

import numpy as np
import pytest
from _fakes import Best, ReadLines, Scripted, Upper, id_of, plan_of, rows_of, run
from _fakes_over_shards import Pointer

from core.errors import ContractError, DamagedFileError
from pipeline.run.gather import Gatherer
from pipeline.run.locate import PLACE, Places
from pipeline.store.run_folder import WHERE
from pipeline.store.storage import Storage

SHARDS = {"a": ["one", "two"], "b": [], "c": ["three", "four", "two"], "d": ["five", "unusable"]}
CHAIN = [ReadLines(), Upper(), Best(), Pointer()]
AT = {"one": [(0, 0)], "two": [(0, 1), (2, 2)], "three": [(2, 0)], "four": [(2, 1)], "five": [(3, 0)]}
"""Line -> (number of the shard, row) of each row that the source kept."""


def ids(lines=AT):
    return [id_of(line) for line in lines]


def folder_of(plan, provider=0):
    return f"{plan.stages[3].folder}/{WHERE}/{provider}"


def places(plan, provider=0):
    return Places(Storage(plan.out), folder_of(plan, provider), len(plan.shards))


def built(tmp_path, monkeypatch, rows_of_one_part=16_384, out=None, shards=SHARDS):
    """A finished build with so many rows in a part, or with fewer parts where that gives more."""
    monkeypatch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", rows_of_one_part)
    plan = plan_of(tmp_path, CHAIN, shards)
    plan = replace(plan, out=out) if out else plan
    assert run(plan).ok
    return plan


@pytest.mark.parametrize(("rows_of_one_part", "num_parts"), [(16_384, 1), (1, 3), (0.1, 8)])
@pytest.mark.parametrize("is_remote", [False, True], ids=["local", "memory"])
def test_each_row_is_found_in_any_number_of_parts(tmp_path, monkeypatch, rows_of_one_part, num_parts, is_remote):
    out = f"memory://{uuid.uuid4().hex}/run" if is_remote else None
    plan = built(tmp_path, monkeypatch, rows_of_one_part, out)
    assert sorted(Storage(plan.out).sizes(folder_of(plan))) == [f"{part:05d}.npy" for part in range(num_parts)]
    assert places(plan).candidates(ids()) == list(AT.values())
    assert places(plan).candidates(ids()[::-1] + ids(["one"])) == [*list(AT.values())[::-1], AT["one"]]
    gather = Gatherer(plan, Storage(plan.out), plan.stages[3])
    assert gather(ids())["caption"].to_pylist() == list(AT)
    assert gather(ids())["source_caption"].to_pylist() == [line.upper() for line in AT]


def test_unknown_id_has_no_place(tmp_path, monkeypatch):
    plan = built(tmp_path, monkeypatch, 1)
    assert places(plan).candidates(["ffff", *ids(["five"]), "", "unusable"]) == [[], AT["five"], [], []]
    assert places(plan).candidates([]) == []


def test_duplicates_give_the_row_of_the_first_shard(tmp_path, monkeypatch):
    plan = built(tmp_path, monkeypatch, 1)
    read = []
    gather = Gatherer(plan, Storage(plan.out), plan.stages[3])
    first_rows = gather._first_rows
    gather._first_rows = lambda *given: (read.append(given[-1].copy()), first_rows(*given))[1]
    assert gather(ids(["two", "two"]))["caption"].to_pylist() == ["two", "two"]
    assert [known[id_of("two")][0] for known in read] == [(0, 1), (0, 1)], "once for each stage that is gathered from"


@pytest.mark.parametrize("rows_of_one_part", [16_384, 1])
def test_ids_that_share_a_hash_get_their_own_rows(tmp_path, monkeypatch, rows_of_one_part):
    expected = built(tmp_path / "apart", monkeypatch, rows_of_one_part)
    monkeypatch.setattr("pipeline.run.locate.hash_texts", lambda texts: np.full(len(texts), 7, np.uint64))
    plan = built(tmp_path / "same", monkeypatch, rows_of_one_part)
    everywhere = [at for found in AT.values() for at in found]
    assert places(plan).candidates(ids(["four"])) == [sorted(everywhere)]
    for shard in SHARDS:
        assert rows_of(plan, "pointer", shard) == rows_of(expected, "pointer", shard)
    gather = Gatherer(plan, Storage(plan.out), plan.stages[3])
    assert gather(ids())["caption"].to_pylist() == list(AT)
    with pytest.raises(ContractError, match=r"cannot gather row 'ffff': stage readlines kept no row of that id"):
        gather([*ids(), "ffff"])


@pytest.mark.parametrize("num_hashes", [2, 3])
def test_some_ids_that_share_a_hash_get_their_own_rows(tmp_path, monkeypatch, num_hashes):
    monkeypatch.setattr(
        "pipeline.run.locate.hash_texts",
        lambda texts: np.array(
            [len(text) % num_hashes + int(text[0], 16) % 2 for text in texts.to_pylist()], np.uint64
        ),
    )
    plan = built(tmp_path, monkeypatch, 1)
    gather = Gatherer(plan, Storage(plan.out), plan.stages[3])
    lines = ["five", "two", "one", "four", "three", "one", "two"]
    assert gather(ids(lines))["source_caption"].to_pylist() == [line.upper() for line in lines]


def test_input_without_rows_has_one_empty_part(tmp_path, monkeypatch):
    plan = built(tmp_path, monkeypatch, shards={"a": [], "b": ["unusable"]})
    (name,) = Storage(plan.out).sizes(folder_of(plan))
    assert np.load(tmp_path / "run" / folder_of(plan) / name).dtype == PLACE
    assert places(plan).candidates(["ffff"]) == [[]]


def test_places_are_those_of_the_stage_that_wrote_the_column(tmp_path, monkeypatch):
    plan = built(tmp_path, monkeypatch, shards={"a": ["drop", "one"], "b": ["five"]})
    assert places(plan, 0).candidates(ids(["drop", "one", "five"])) == [[(0, 0)], [(0, 1)], [(1, 0)]]
    assert places(plan, 1).candidates(ids(["drop", "one", "five"])) == [[], [(0, 0)], [(1, 0)]]
    assert Gatherer(plan, Storage(plan.out), plan.stages[3])(ids(["one"]))["source_caption"].to_pylist() == ["ONE"]


def as_array(path, change):
    np.save(path, change(np.load(path)))


def with_shard(number):
    def change(known):
        known["shard"] = number
        return known

    return change


DAMAGES = {
    "empty": (lambda path: path.write_bytes(b""), r"cannot be read \(.*\)"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"cannot be read \(.*\)"),
    "cut header": (lambda path: path.write_bytes(path.read_bytes()[:60]), r"cannot be read \(.*\)"),
    "text": (lambda path: path.write_bytes(b"no array" * 40), r"cannot be read \(.*\)"),
    "odd header": (lambda path: path.write_bytes(path.read_bytes().replace(b"'fortran", b"[fortran")), r"cannot be.*"),
    "open header": (lambda path: path.write_bytes(path.read_bytes().replace(b"}", b" ")), r"cannot be read \(.*\)"),
    "other type": (lambda path: as_array(path, lambda known: np.zeros(3)), "has no places of rows"),
    "other shape": (lambda path: as_array(path, lambda known: known.reshape(-1, 1)), "has no places of rows"),
    "shard too large": (lambda path: as_array(path, with_shard(4)), "names a shard that is not there"),
    "shard below 0": (lambda path: as_array(path, with_shard(-1)), "names a shard that is not there"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_named_with_what_to_do(tmp_path, monkeypatch, damage):
    plan = built(tmp_path, monkeypatch)
    spoil, message = DAMAGES[damage]
    rel = f"{folder_of(plan)}/00000.npy"
    spoil(tmp_path / "run" / rel)
    with pytest.raises(DamagedFileError, match=rf"^{rel} {message}; remove it and build again$"):
        places(plan).candidates(ids())


def test_damaged_file_fails_the_build_by_name_and_its_removal_helps(tmp_path, monkeypatch):
    plan = built(tmp_path, monkeypatch)
    storage = Storage(plan.out)
    path = tmp_path / "run" / folder_of(plan) / "00000.npy"
    right = path.read_bytes()
    path.write_bytes(right[:-8] + b"12345678")
    storage.remove(f"{plan.stages[3].folder}/a.parquet")
    [message] = run(plan).failures.values()
    assert message == (
        f"stage pointer, shard a: {folder_of(plan)}/00000.npy names a shard that is not there; "
        "remove it and build again"
    )
    path.unlink()
    assert run(plan).ok
    assert path.read_bytes() == right
    assert [row["target_caption"] for row in rows_of(plan, "pointer", "a")] == ["five/FIVE", "one/ONE"]


def test_two_stages_may_gather_the_same_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", 1)

    class Again(Pointer):
        writes = ("instruction",)

        def open(self, ctx):
            point = super().open(ctx)
            return lambda batch: point(batch).rename_columns({"target_caption": "instruction"})

    plan = plan_of(tmp_path, [ReadLines(), Upper(), Best(), Pointer(), Again()], SHARDS)
    executor = Scripted(Storage(plan.out), width=8)
    assert run(plan, executor).ok
    first = [task for task in executor.submitted if task[1].startswith("_0-")]
    assert {stage for stage, *_ in first} == {"pointer", "again"}
    for shard in SHARDS:
        assert [r["instruction"] for r in rows_of(plan, "again", shard)] == [
            r["target_caption"] for r in rows_of(plan, "pointer", shard)
        ]
