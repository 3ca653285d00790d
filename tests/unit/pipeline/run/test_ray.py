"""How Ray workers end, and which rows a deadline blames. No Ray is started."""

import time
from types import SimpleNamespace

import pytest

from pipeline.plan.manifest import RunOn
from pipeline.run.deadlines import TaskClock
from pipeline.run.ray import RayExecutor, _Actor
from pipeline.run.suspects import Suspects
from pipeline.run.task import Task


@pytest.mark.parametrize("is_elsewhere", [True, False])
def test_workers_of_a_cluster_remove_their_copies_of_remote_files(is_elsewhere):
    done = []
    handle = SimpleNamespace(close=SimpleNamespace(remote=lambda: done.append("closed")))
    executor = RayExecutor(storage=SimpleNamespace(is_local=not is_elsewhere))
    executor._actors = [SimpleNamespace(handle=handle, is_ready=True)]
    executor._ray = SimpleNamespace(
        wait=lambda refs, **_more: None, exceptions=SimpleNamespace(RayError=RuntimeError),
        kill=lambda handle, **_more: done.append("killed"),
    )  # fmt: skip
    executor.close()
    assert done == (["closed", "killed"] if is_elsewhere else ["killed"])


class AtWork(RayExecutor):
    """An executor with one worker that is at row 5 and never finishes."""

    def __init__(self, **run_on):
        super().__init__(storage=None)
        stage = SimpleNamespace(name="slow")
        self._plan = SimpleNamespace(manifest=SimpleNamespace(run_on=RunOn(**run_on)), stages=[stage])
        self._ray = SimpleNamespace(kill=lambda *_, **__: None, nodes=lambda: [{"Alive": True, "NodeID": "n"}])
        self.seen = iter(range(5, 100))
        self.moves_on = False

    def _is_done(self, ref):
        return False

    def _rows_in_work(self, actor):
        row = next(self.seen) if self.moves_on else 5
        return row, row + 1

    def _spawn(self, pool):
        pass

    def _forget(self, key):
        pass

    def loss(self, *, running_s, suspects, at=None, at_row_s=0.0):
        """The outcome after a task has run for a time, and its current row for a part of it."""
        now = time.monotonic()
        task = Task(stage=0, shard="a", input_digest="", suspects=suspects)
        clock = TaskClock.start(task, self._plan.manifest.run_on, now)
        clock.started_at, clock.at, clock.at_since, clock.looked_at = now - running_s, at, now - at_row_s, now
        actor = _Actor(None, "cpu", node="n", clock=clock)
        self._actors = [actor]
        return self._look(actor, clock)


ALONE = Suspects(spans=((0, 10),))


@pytest.mark.parametrize("at", [None, (4, 5), (5, 6)])
def test_deadline_of_a_slow_shard_is_not_blamed_on_the_row_in_work(at):
    outcome = AtWork(deadline_s=50).loss(running_s=100, suspects=ALONE, at=at)
    assert "ran past its deadline of 50 s" in outcome.message
    assert outcome.at is None


def test_deadline_makes_the_rows_in_work_suspects_once():
    assert AtWork(deadline_s=50).loss(running_s=100, suspects=Suspects()).at == (5, 6)


def test_suspected_row_that_outlives_its_own_deadline_is_blamed():
    outcome = AtWork(deadline_s=50, row_deadline_s=2).loss(running_s=9, suspects=ALONE, at=(5, 6), at_row_s=3)
    assert (outcome.at, outcome.is_overdue) == ((5, 6), True)
    assert outcome.why == "ran past 2 s on one row alone (row_deadline_s)"


def test_row_that_comes_after_the_one_that_was_late_is_not_blamed():
    executor = AtWork(deadline_s=50, row_deadline_s=2)
    executor.moves_on = True
    assert executor.loss(running_s=9, suspects=ALONE, at=(5, 6), at_row_s=3).at == (5, 6)
