import json

import pyarrow as pa
import pytest
from _fakes import (
    Bad,
    Best,
    Log,
    Pack,
    Pixels,
    ReadLines,
    Twins,
    Upper,
    Words,
    entry,
    id_of,
    plan_of,
    reasons,
    rows_of,
    run,
    table_at,
)

from pipeline.plan.manifest import RunOn
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import Storage
from samples.columns import REJECT_REASON, SAMPLE_ID


def stopped(plan):
    result = run(plan)
    assert not result.ok
    return result.stopped


def test_image_repeated_in_a_shard_is_rejected_but_kept_in_another_shard(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(rows_per_table=1)], {"a": ["one", "two", "one"], "b": ["one"]})
    assert run(plan).ok
    assert [r["caption"] for r in rows_of(plan, "readlines", "a")] == ["one", "two"]
    [reject] = rows_of(plan, "readlines", "a", ".rejects.parquet")
    assert reject["reject_reason"] == "duplicate_image"
    assert [r["caption"] for r in rows_of(plan, "readlines", "b")] == ["one"]


def test_row_that_the_source_rejects_does_not_hide_a_later_good_one(tmp_path):
    class RejectsFirst(ReadLines):
        def open(self, ctx):
            read = super().open(ctx)

            def first_out(shard):
                for number, rows in enumerate(read(shard)):
                    if number == 0:
                        reason = pa.array(["unusable"] * rows.num_rows)
                        yield rows.drop_columns(["reject_reason"]).append_column("reject_reason", reason)
                    else:
                        yield rows

            return first_out

    plan = plan_of(tmp_path, [RejectsFirst(rows_per_table=1)], {"a": ["one", "one"]})
    assert run(plan).ok
    assert [r["caption"] for r in rows_of(plan, "rejectsfirst", "a")] == ["one"]


def test_raising_row_is_quarantined_with_what_was_known_of_it(tmp_path):
    lines = [f"line {n}" for n in range(20)]
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": [*lines, "boom"]})
    assert run(plan).ok
    [reject] = rows_of(plan, "upper", "a", ".rejects.parquet")
    assert reject[SAMPLE_ID] == id_of("boom")
    assert reject["reject_detail"] == "ValueError: boom: cannot be put in capitals"
    assert json.loads(reject["row"]) == {"caption": "boom"}
    assert len(rows_of(plan, "upper", "a")) == 20


def test_shard_with_too_many_raising_rows_fails_by_name(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["boom 1", "boom 2"], "b": ["one"]})
    result = run(plan)
    assert result.failures == {
        (1, "a"): "stage upper, shard a: failed on 2 rows, more than the 1 allowed (max_quarantined_frac); "
        "last: ValueError: boom: cannot be put in capitals"
    }
    assert result.tallies[1].done == 1


@pytest.mark.parametrize("rows_per_batch", [1, 2, 100])
def test_result_and_rejects_do_not_depend_on_the_batch(tmp_path, rows_per_batch):
    lines = ["one", "lonely", "single", "lonely too", "two", "drop it"]
    chain = [ReadLines(), entry(Upper(), rows_per_batch=rows_per_batch), entry(Twins(), rows_per_batch=rows_per_batch)]
    plan = plan_of(tmp_path, chain, {"a": lines})
    assert run(plan).ok
    assert [r["instruction"] for r in rows_of(plan, "twins", "a")] == ["1 one", "2 one", "1 single", "1 two", "2 two"]
    rejects = rows_of(plan, "twins", "a", ".rejects.parquet")
    assert [json.loads(r["row"]) for r in rejects] == [{"caption": "lonely"}, {"caption": "lonely too"}]


class LosesRows(Upper):
    def open(self, ctx):
        work = super().open(ctx)
        return lambda batch: work(batch).slice(1)


class UnknownReason(Upper):
    rejects = None


class SkipsATable(Pack):
    def open(self, ctx):
        write = super().open(ctx)

        def first_only(shard, tables):
            results = list(write(shard, tables))
            yield results[0]

        return first_only


class OneTableTooMany(Pack):
    def open(self, ctx):
        write = super().open(ctx)

        def again(shard, tables):
            for result in write(shard, tables):
                yield result
                yield result

        return again


class RejectsAndKeeps(Twins):
    def open(self, ctx):
        work = super().open(ctx)

        def both(batch):
            own = batch[SAMPLE_ID][0].as_py()
            children = work(batch)
            reject = pa.Table.from_pylist([{SAMPLE_ID: own, "reject_reason": "lonely"}], schema=children.schema)
            return pa.concat_tables([reject, children])

        return both


class NoVerdict(Best):
    def open(self, ctx):
        verdicts = super().open(ctx)
        return lambda tables: list(verdicts(tables))[:1]


class NoArtifact(Words):
    def open(self, ctx):
        return lambda tables: iter(())


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (
            LosesRows(),
            "stage losesrows, shard a: stage losesrows: 2 rows went in, 1 rows came out, or in another order",
        ),
        (
            UnknownReason(),
            "stage unknownreason, shard a: stage unknownreason: reject reason 'dropped' is not in its `rejects` enum",
        ),
        (
            entry(SkipsATable(), rows_per_batch=1),
            "stage skipsatable, shard a: 2 rows went in, 1 were kept and 0 rejected",
        ),
        (
            entry(OneTableTooMany(), rows_per_batch=2),
            "stage onetabletoomany, shard a: stage onetabletoomany: returned more tables than it was given",
        ),
        (
            entry(RejectsAndKeeps(), rows_per_batch=1),
            "stage rejectsandkeeps, shard a: 2 rows went in, 2 were kept and 2 rejected",
        ),
        (NoVerdict(), "stage noverdict, shard _all: stage noverdict: returned no verdict on shard 'b'"),
        (
            NoArtifact(),
            "stage noartifact, shard _all: stage noartifact: left no artifact 'words.json' in ctx.artifact_dir",
        ),
    ],
)
def test_stage_that_breaks_the_contract_stops_the_build(tmp_path, stage, expected):
    plan = plan_of(tmp_path, [ReadLines(), stage], {"a": ["one", "drop"], "b": ["two"]})
    assert stopped(plan) == expected


def test_failed_shard_leaves_neither_output_nor_temporary_files(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["boom 1", "boom 2"]}, run_on=RunOn(attempts=1))
    run(plan)
    assert Storage(plan.out).sizes(plan.stages[1].folder) == {}
    assert not (tmp_path / "run/tmp").exists()


def test_record_names_the_worker_and_lists_its_files(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["one", "drop"]})
    run(plan)
    storage, planned = Storage(plan.out), plan.stages[1]
    record = RunFolder(storage).record(planned.folder, "a")
    assert (record.stage, record.shard, record.fingerprint) == ("upper", "a", planned.fingerprint)
    assert (record.rows_in, record.rows_kept, record.rows_out, record.rejects) == (2, 1, 1, {"dropped": 1})
    assert {name: entry.bytes for name, entry in record.files.items()} == {
        name: size for name, size in storage.sizes(planned.folder).items() if name != "records.jsonl"
    }
    assert ":" in record.worker


def test_many_bytes_of_rejects_are_written_before_the_end(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": [f"drop {n}" for n in range(30)]})
    assert run(plan).ok
    at_once = rows_of(plan, "upper", "a", ".rejects.parquet")
    for module in ("run.shard_output", "run.rows", "store.column_writer", "store.cursor"):
        monkeypatch.setattr(f"pipeline.{module}.BATCH_BYTES", 100)
    again = plan_of(tmp_path / "again", [ReadLines(), Upper()], {"a": [f"drop {n}" for n in range(30)]})
    assert run(again).ok
    assert rows_of(again, "upper", "a", ".rejects.parquet") == at_once
    assert len(at_once) == 30


class PickyPixels(Pixels):
    """Rejects what `Upper` drops."""

    reads = ("source_raw", "caption")
    rejects = Bad

    def open(self, ctx):
        work = super().open(ctx)

        def picky(batch):
            return work(batch).append_column(REJECT_REASON, reasons(batch["caption"].to_pylist(), "drop", Bad.DROPPED))

        return picky


def test_light_and_bulk_columns_are_in_two_files_of_the_same_rows(tmp_path):
    lines = ["one", "drop it", "two", "three"]
    plan = plan_of(tmp_path, [ReadLines(), entry(PickyPixels(), rows_per_batch=1), Pack()], {"a": lines, "b": ["drop"]})
    assert run(plan).ok
    storage, folder = Storage(plan.out), plan.stages[1].folder
    names = ["a.bulk.parquet", "a.parquet", "a.rejects.parquet"]
    for shard, ids in (("a", [id_of(line) for line in ("one", "two", "three")]), ("b", [])):
        light, bulk = (table_at(storage, f"{folder}/{shard}{suffix}") for suffix in (".parquet", ".bulk.parquet"))
        assert light.column_names == [SAMPLE_ID]
        assert bulk.column_names == [SAMPLE_ID, "source_images"]
        assert light[SAMPLE_ID].to_pylist() == bulk[SAMPLE_ID].to_pylist() == ids
        record = RunFolder(storage).record(folder, shard)
        assert sorted(record.files) == [name.replace("a", shard, 1) for name in names]
        assert RunFolder(storage).has_files(folder, record)
    assert [r["source_images"] for r in rows_of(plan, "pickypixels", "a")] == [[b"one"], [b"two"], [b"three"]]
    assert not [name for name in storage.sizes(plan.stages[0].folder) if "bulk" in name], (
        "virtual columns are not stored"
    )


@pytest.mark.parametrize("lost", ["a.parquet", "a.bulk.parquet", "a.rejects.parquet"])
def test_step_is_done_again_when_any_of_its_files_is_gone(tmp_path, lost):
    plan = plan_of(tmp_path, [ReadLines(), PickyPixels(), Pack()], {"a": ["one", "drop it"], "b": ["two"]})
    assert run(plan).ok
    path = tmp_path / "run" / plan.stages[1].folder / lost
    content = path.read_bytes()
    path.unlink()
    log = Log()
    assert run(plan, on_event=log).ok
    assert log.of("started") == [("pickypixels", "a")]
    assert path.read_bytes() == content
