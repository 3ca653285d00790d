import errno

import pytest
from _fakes import ReadLines, Upper, plan_of

from pipeline.errors import ContractError, MissingDependencyError, RunStopped, ShardFailed
from pipeline.storage import Storage
from pipeline.worker import Task, Worker, classify


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (OutOfMemoryError("CUDA out of memory"), "memory"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "retry"),
        (TimeoutError("no answer"), "retry"),
        (OSError(errno.EIO, "bad disk"), "retry"),
        (FileNotFoundError(errno.ENOENT, "gone", "x.tar"), "shard"),
        (PermissionError(errno.EACCES, "no", "x.tar"), "shard"),
        (ShardFailed("no tar"), "shard"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), "stop"),
        (RunStopped("x"), "stop"),
        (ContractError("x"), "stop"),
        (ZeroDivisionError("x"), "stop"),
    ],
)
def test_failures_are_sorted_by_what_may_help(error, kind):
    assert classify(error)[0] == kind


def test_full_disk_says_what_to_do():
    text = classify(OSError(errno.ENOSPC, "No space left on device", "/run/x"))[1]
    assert text == "no space left on device: /run/x; mend it and run the same command again"


def test_only_unforeseen_errors_are_called_a_bug():
    assert classify(KeyError("x"))[1] == "KeyError: 'x' (unexpected: a bug in the stage or the engine)"
    assert classify(ContractError("rows lost"))[1] == "rows lost"
    assert classify(MissingDependencyError("no nltk: pip install nltk"))[1] == "no nltk: pip install nltk"


def test_failure_names_stage_and_shard_once(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["boom 1", "boom 2"]})
    worker = Worker(plan, Storage(plan.out))
    (tmp_path / "in/a.lines").unlink()
    outcome = worker.run(Task(stage=0, shard="a", input_digest="d"))
    assert outcome.failure == "shard"
    assert outcome.message.startswith("stage readlines, shard a: no such file or directory: ")
    assert outcome.message.count("shard a") == 1


def test_stage_is_opened_once_for_all_its_tasks(tmp_path, monkeypatch):
    opened = []
    real = ReadLines.open
    monkeypatch.setattr(ReadLines, "open", lambda self, ctx: opened.append(1) or real(self, ctx))
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"], "b": ["two"]})
    worker = Worker(plan, Storage(plan.out))
    before = worker.pulse()
    for shard in "ab":
        assert worker.run(Task(stage=0, shard=shard, input_digest="d")).record
    assert opened == [1]
    assert worker.pulse() > before
