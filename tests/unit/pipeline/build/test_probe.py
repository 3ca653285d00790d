from dataclasses import replace

import pytest
from _fakes import Pack, ReadLines, Twins, Upper, plan_of

from core.errors import RunStopped
from pipeline.build.probe import probe


def lines(count):
    return [f"line {n:04d} of the sample" for n in range(count)]


def test_rows_are_scaled_from_the_first_shard_to_all(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Pack()], {n: lines(20) for n in "abcd"})
    estimates = probe(plan, 64)
    assert [e.stage for e in estimates] == ["readlines", "upper", "twins", "pack"]
    assert [e.rows_out for e in estimates] == [80, 80, 160, 160]
    assert all(e.num_bytes > 0 for e in estimates)


def test_probe_leaves_the_run_folder_alone(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": lines(5)})
    probe(plan, 2)
    assert not (tmp_path / "run").exists()


def test_probe_reads_no_more_rows_than_asked_for(tmp_path):
    seen = []

    class Watched(Upper):
        def open(self, ctx):
            work = super().open(ctx)
            return lambda batch: seen.append(batch.num_rows) or work(batch)

    probe(plan_of(tmp_path, [ReadLines(), Watched()], {"a": lines(20)}), 7)
    assert sum(seen) == 7


def test_sample_that_fails_says_why(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["boom 1", "boom 2"]})
    with pytest.raises(RunStopped) as caught:
        probe(plan, 10)
    assert str(caught.value).startswith("the sample failed: stage upper, shard a: failed on 2 rows")


def test_shards_with_known_row_counts_are_scaled_by_rows(tmp_path):
    class Parts(ReadLines):
        def list_shards(self, inputs):
            [whole] = super().list_shards(inputs)
            return [replace(whole, name=f"a-{n}", part=(20 * n, 20 * n + 20), num_bytes=1) for n in range(3)]

    plan = plan_of(tmp_path, [Parts(), Upper()], {"a": lines(60)})
    assert [e.rows_out for e in probe(plan, 4)] == [60, 60]
