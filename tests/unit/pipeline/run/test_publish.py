import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from _fakes import Log, Pack, ReadLines, Upper, id_of, plan_of, run

from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import Storage

SHARDS = {"a": ["one", "drop"], "b": ["drop too"], "c": ["two"]}


def built(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], SHARDS)
    assert run(plan).ok
    folder = RunFolder(Storage(plan.out))
    return folder, folder.record(plan.stages[-1].folder, ALL_SHARDS), tmp_path / "run/dataset"


def test_shard_without_rows_has_no_file_in_the_dataset(tmp_path):
    _, record, dataset = built(tmp_path)
    assert sorted(path.name for path in dataset.iterdir()) == ["a.tar", "about.json", "c.tar", "shards.json"]
    assert record.rows_out == 2


def test_record_lists_every_published_file(tmp_path):
    folder, record, dataset = built(tmp_path)
    assert {name.rpartition("/")[2] for name in record.files} == {path.name for path in dataset.iterdir()}
    assert folder.has_files("stages/any", record)
    assert folder.is_published(record)


def test_sink_gets_counts_and_rejects_of_all_stages(tmp_path):
    _, _, dataset = built(tmp_path)
    about = json.loads((dataset / "about.json").read_text())
    assert about["rows_in"] == {"readlines": 4, "upper": 4, "pack": 2}
    assert [(row["shard"], row["stage"], row["reject_reason"]) for row in about["rejects"]] == [
        ("a", "upper", "dropped"), ("b", "upper", "dropped"),
    ]  # fmt: skip


def test_sink_gets_what_its_steps_left_of_each_shard_with_rows(tmp_path):
    _, _, dataset = built(tmp_path)
    parts = json.loads((dataset / "about.json").read_text())["parts"]
    assert parts == {
        shard: [{"samples": "packed"}, [{"sample_id": id_of(line), "dataset_shard": f"{shard}.tar", "caption": line}]]
        for shard, line in (("a", "one"), ("c", "two"))
    }


def test_last_step_reads_one_file_of_each_shard_with_rows(tmp_path, monkeypatch):
    read = Counter()
    contents = Storage.contents

    def counted(self, rels):
        rels = list(rels)
        read.update(Path(rel).name for rel in rels if rel.startswith("stages/pack"))
        return contents(self, rels)

    monkeypatch.setattr(Storage, "contents", counted)
    built(tmp_path)
    assert {name: number for name, number in read.items() if name.endswith(".parquet")} == {
        "a.parquet": 1, "c.parquet": 1,
    }  # fmt: skip


class Marks(Pack):
    """Leaves a further file of the first shard of the plan."""

    def open(self, ctx):
        write = super().open(ctx)

        def marked(shard, tables):
            yield from write(shard, tables)
            if shard.number == 0:
                shard.further_file(".mark").write_text(f"{shard.name} of {shard.num_shards}")

        return marked

    def collate(self, folder, run):
        super().collate(folder, run)
        marks = {name: run.read(f"{name}.mark").decode() for name in run.further_files.get(".mark", ())}
        (folder / "marks.json").write_text(json.dumps(marks))


def test_further_files_are_recorded_and_not_published(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Marks()], {"a": ["one"], "b": ["two"]})
    assert run(plan).ok
    dataset = tmp_path / "run/dataset"
    assert json.loads((dataset / "marks.json").read_text()) == {"a": "a of 2"}
    assert not (dataset / "a.mark").exists()
    record = RunFolder(Storage(plan.out)).record(plan.stages[-1].folder, "a")
    assert sorted(record.files) == ["a.mark", "a.parquet", "a.tar"]


def test_more_shards_do_not_redo_those_that_are_done(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Marks()], {"a": ["one"], "b": ["two"]})
    assert run(replace(plan, shards=plan.shards[1:])).ok
    log = Log()
    assert run(plan, on_event=log).ok
    assert log.of("started") == [("readlines", "a"), ("marks", "a"), ("marks", ALL_SHARDS)]
    assert json.loads((tmp_path / "run/dataset/marks.json").read_text()) == {"a": "a of 2", "b": "b of 1"}


@pytest.mark.parametrize("damaged", ["a.parquet", "a.mark"])
def test_damaged_file_of_a_shard_is_named(tmp_path, damaged):
    plan = plan_of(tmp_path, [ReadLines(), Marks()], {"a": ["one"], "b": ["two"]})
    assert run(plan).ok
    path = Path(plan.out, plan.stages[-1].folder, damaged)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    Storage(plan.out).remove("dataset")
    [failure] = run(plan).failures.values()
    rel = f"{plan.stages[-1].folder}/{damaged}"
    assert failure == (
        f"stage marks, shard {ALL_SHARDS}: {rel} is not what was written (sha256 differs); remove it and build again"
    )
