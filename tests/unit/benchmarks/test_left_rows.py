"""What the benchmarks read of a stage's folder."""

from pathlib import Path

import pytest
from _fakes import Pixels, ReadLines, Twins, Upper, id_of, plan_of, run

from benchmarks.left_rows import left_rows, rejected_rows, stage_rows

SHARDS = {"a": ["one", "two", "drop it"], "b": ["lonely", "three"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    plan = plan_of(tmp_path_factory.mktemp("left"), [ReadLines(), Pixels(), Upper(), Twins()], SHARDS)
    assert run(plan).ok
    return [Path(plan.out, stage.folder) for stage in plan.stages]


def test_light_and_bulk_columns_of_a_row_are_together(folders):
    lines = [line for own in SHARDS.values() for line in own]
    assert left_rows(folders[1]) == [
        {"sample_id": id_of(line), "source_images": [line.encode()]} for line in lines
    ]  # fmt: skip


def test_named_columns_come_in_their_order(folders):
    (first, *_) = left_rows(folders[1], ["source_images", "sample_id"])
    assert list(first.items()) == [("source_images", [b"one"]), ("sample_id", id_of("one"))]
    assert left_rows(folders[3], ["parent_id"])[0] == {"parent_id": id_of("one")}
    with pytest.raises(KeyError, match="caption"):
        left_rows(folders[1], ["caption"])


def test_rejected_rows_are_apart(folders):
    assert [row["source_caption"] for row in left_rows(folders[2])] == ["ONE", "TWO", "LONELY", "THREE"]
    assert [(row["sample_id"], row["reject_reason"]) for row in rejected_rows(folders[2])] == [
        (id_of("drop it"), "dropped")
    ]
    assert rejected_rows(folders[1]) == []


def test_stage_is_found_by_its_manifest(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("benchmarks.left_rows.left_rows", lambda folder, columns: asked.append((folder, columns)))
    manifest = Path(__file__).resolve().parents[3] / "manifests" / "tiny" / "instructions.toml"
    stage_rows(tmp_path, manifest, "dedup", ["sample_id"])
    [(folder, columns)] = asked
    assert (folder.parent, folder.name.rpartition("-")[0]) == (tmp_path / "stages", "dedup")
    assert columns == ["sample_id"]
