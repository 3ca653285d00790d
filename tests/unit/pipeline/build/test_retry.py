from pathlib import Path
from typing import ClassVar

import pytest
from _fakes import Log, ReadLines, Upper, plan_of, rows_of, run

from core.errors import PlanError
from pipeline.build.retry import mark_retries
from pipeline.store.storage import Storage


class Fetch(ReadLines):
    """Lines with 'unusable' in them fail until the store has a marker for their shard."""

    retryable: ClassVar = frozenset({"unusable"})

    def open(self, ctx):
        read = super().open(ctx)

        def fetch(shard):
            with ctx.store.fetch(f"{shard.name}.retry") as marker:
                if marker is not None:
                    Path(shard.uri).write_text("fixed\nfine", encoding="utf-8")
                    ctx.store.remove(f"{shard.name}.retry")
            return read(shard)

        return fetch


def test_retry_has_only_the_shards_with_failures_done_again(tmp_path):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"a": ["one"], "b": ["unusable", "fine"]})
    assert run(plan).ok
    storage = Storage(plan.out)
    assert mark_retries(plan, storage) == {"b": 1}
    log = Log()
    assert run(plan, on_event=log).ok
    assert log.of("done") == [("fetch", "b"), ("upper", "b")]
    assert [row["source_caption"] for row in rows_of(plan, "upper", "b")] == ["FIXED", "FINE"]
    assert mark_retries(plan, storage) == {}


def test_retry_of_a_source_that_fetches_nothing_is_refused(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()])
    with pytest.raises(PlanError, match="source readlines fetches nothing, so there is nothing to try again"):
        mark_retries(plan, Storage(plan.out))


def test_retry_of_everything_replaces_an_earlier_retry(tmp_path):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"a": ["one"], "b": ["unusable", "fine"]})
    assert run(plan).ok
    storage = Storage(plan.out)
    assert mark_retries(plan, storage) == {"b": 1}
    assert mark_retries(plan, storage, everything=True) == {"b": 1}
    assert storage.read_bytes(f"{plan.stages[0].folder}/store/b.retry") == b"all"
    assert mark_retries(plan, storage) == {"b": 1}
    assert storage.read_bytes(f"{plan.stages[0].folder}/store/b.retry") == b"all", "the larger wish is kept"


def test_retry_twice_before_a_build_counts_all_marked_rows(tmp_path):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"a": ["one"], "b": ["unusable 1", "unusable 2", "fine"]})
    assert run(plan).ok
    storage = Storage(plan.out)
    assert mark_retries(plan, storage) == {"b": 2}
    assert mark_retries(plan, storage) == {"b": 2}
    assert run(plan).ok
    assert mark_retries(plan, storage) == {}


def test_retry_of_everything_leaves_out_what_is_final(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"b": ["unusable", "fine"]})
    assert run(plan).ok
    monkeypatch.setattr(Fetch, "final", frozenset({"unusable"}))
    assert mark_retries(plan, Storage(plan.out), everything=True) == {}
