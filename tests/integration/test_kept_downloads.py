"""Downloads kept below a run folder: recorded, verified, restored when damaged, and removed from workers."""

import os
import uuid
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _fakes import Log, manifest_of, run
from _inputs import jpeg
from _laion import laion_stage, rows_of
from _records import records
from _web import Answer, Web

from pipeline.build.build import Build
from pipeline.build.verify import verify
from pipeline.plan.plan import make_plan
from pipeline.run.inprocess import InProcessExecutor
from pipeline.store.scratch import IN_USE
from pipeline.store.storage import Storage, describe_file
from stages.normalise_image import NormaliseImage

NUM_ROWS = 8
TAR = "part-00000.tar"


@pytest.fixture
def web(tmp_path):
    served = Web({f"/{n}.jpg": Answer(jpeg(n)) for n in range(NUM_ROWS)})
    write_table(tmp_path / "part.parquet", served)
    yield served
    served.close()


def write_table(path, web):
    pq.write_table(pa.Table.from_pylist(rows_of(web, NUM_ROWS)), path)


def plan_for(tmp_path, side_px=64, out=None, rows_per_shard=4):
    stages = laion_stage(rows_per_shard=rows_per_shard), NormaliseImage(shorter_side_px=side_px)
    return make_plan(manifest_of(*stages), out or str(tmp_path / "run"), [str(tmp_path / "part.parquet")])


def store_of(plan):
    return Path(plan.out) / plan.stages[0].folder / "store"


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rows_left(plan, stage):
    return {
        row["sample_id"]
        for shard in plan.shards
        for row in pq.read_table(f"{plan.out}/{plan.stages[stage].folder}/{shard.name}.parquet").to_pylist()
    }


def test_what_is_kept_is_recorded_and_verified(tmp_path, web):
    plan = plan_for(tmp_path)
    assert run(plan).ok
    storage, store = Storage(plan.out), store_of(plan)
    assert verify(plan, storage, deep=True) == []
    flipped = bytearray((store / TAR).read_bytes())
    flipped[700] ^= 0xFF
    (store / TAR).write_bytes(flipped)
    assert verify(plan, storage, deep=False) == []
    assert verify(plan, storage, deep=True) == [
        f"stage readlaion, shard part-00000: store/{TAR} is not what was written (sha256 differs)"
    ]
    cut(store / TAR)
    (store / "part-00001.status.parquet").unlink()
    found = [line.split(" has ")[0] for line in verify(plan, storage, deep=False)]
    assert found == [
        f"stage readlaion, shard part-00000: store/{TAR}",
        "stage readlaion, shard part-00001: store/part-00001.status.parquet",
    ]


@pytest.mark.parametrize("damage", [cut, os.unlink], ids=["cut", "removed"])
def test_a_damaged_tar_is_replaced_by_the_next_build_with_a_url_gone(tmp_path, web, damage):
    assert run(plan_for(tmp_path)).ok
    plan = plan_for(tmp_path, side_px=48)
    damage(store_of(plan) / TAR)
    del web.answers["/3.jpg"]
    log = Log()
    assert run(plan, on_event=log).ok
    assert log.of("failed") == []
    assert ("readlaion", "part-00000") in log.of("done")
    assert ("readlaion", "part-00001") in log.of("cached")
    assert verify(plan, Storage(plan.out), deep=True) == []
    assert len(rows_left(plan, 1)) == NUM_ROWS - 1
    assert rows_left(plan, 1) == rows_left(plan, 0)
    before = plan_for(tmp_path)
    log = Log()
    assert run(before, on_event=log).ok
    assert log.of("done") == [("normaliseimage", "part-00000")], "its rows are others now"
    assert rows_left(before, 1) == rows_left(before, 0)


def test_a_hole_found_by_a_later_stage_is_filled_by_the_next_build(tmp_path, web):
    plan = plan_for(tmp_path)

    class Hole(Log):
        def __call__(self, event, fields):
            super().__call__(event, fields)
            if event == "started" and fields["stage"] == "normaliseimage" and fields["shard"] == "part-00000":
                (store_of(plan) / TAR).unlink(missing_ok=True)

    result = run(plan, on_event=Hole())
    assert result.failures == {
        (1, "part-00000"): f"stage normaliseimage, shard part-00000: {TAR} of stage readlaion is not there any more; "
        "build again: what is missing is downloaded anew"
    }
    assert web.asked["/0.jpg"] == 1
    assert run(plan).ok
    assert verify(plan, Storage(plan.out), deep=True) == []


def test_the_advice_on_a_byte_that_changed_in_place_leads_out(tmp_path, web):
    assert run(plan_for(tmp_path)).ok
    plan = plan_for(tmp_path, side_px=48)
    tar = store_of(plan) / TAR
    data = tar.read_bytes()
    at = data.index(b"000000001.jpg") + 700
    tar.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    result = run(plan)
    [message] = result.failures.values()
    assert "remove part-00000.parquet in the folder of stage readlaion and build again" in message
    (store_of(plan).parent / "part-00000.parquet").unlink()
    web.asked.clear()
    assert run(plan).ok
    assert web.asked == {"/1.jpg": 1}
    assert tar.read_bytes() == data


def test_a_source_step_that_ends_early_leaves_no_earlier_record(tmp_path, web, monkeypatch):
    plan = plan_for(tmp_path)
    assert run(plan).ok
    (store_of(plan) / TAR).unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.run.shard_output.ShardOutput.finish", full)
    assert not run(plan).ok
    assert (store_of(plan) / TAR).exists()
    assert ("readlaion", "part-00000") not in records(plan.out)


def test_a_touched_table_is_read_anew_and_nothing_else_is_done(tmp_path, web):
    plan = plan_for(tmp_path)
    assert run(plan).ok
    before = {path.name: describe_file(path) for path in store_of(plan).iterdir()}
    os.utime(tmp_path / "part.parquet", (1, 1))
    web.asked.clear()
    log = Log()
    assert run(plan_for(tmp_path), on_event=log).ok
    assert not web.asked
    assert {stage for stage, _ in log.of("done")} == {"readlaion"}
    assert {path.name: describe_file(path) for path in store_of(plan).iterdir()} == before


def test_a_remote_run_folder_leaves_and_fetches_no_tars_on_this_machine(tmp_path, web, monkeypatch):
    plan = plan_for(tmp_path, out=f"memory://{uuid.uuid4().hex}/run", rows_per_shard=2)
    fs = fsspec.filesystem("memory")
    fetched, left = [], []
    real = type(fs).get_file
    monkeypatch.setattr(type(fs), "get_file", lambda self, rel, to, **how: (fetched.append(rel), real(self, rel, to)))
    storage = Storage(plan.out)

    class Watch(Log):
        def __call__(self, event, fields):
            super().__call__(event, fields)
            if event == "done":
                left.extend(path.name for path in storage.scratch().iterdir() if path.name != IN_USE)

    assert Build(plan, storage, InProcessExecutor(storage), Watch()).run().ok
    assert left == []
    stores = [rel for rel in fetched if "/store/" in rel]
    assert len(stores) == 2 * len(plan.shards), "each shard's two files, once, for the one stage that reads them"
    assert verify(plan, storage, deep=True) == []
    storage.close()
