from dataclasses import replace

import pytest

from pipeline.build.attempts import BACKOFF_S, MAX_PREEMPTIONS, Attempts
from pipeline.plan.manifest import RunOn
from pipeline.run.suspects import Suspects
from pipeline.run.task import Outcome, Task

TASK = Task(stage=1, shard="a", input_digest="d")


def after(failure, task=TASK, attempts=None, **known):
    return (attempts or Attempts(RunOn(attempts=3))).after(Outcome(task=task, failure=failure, message="m", **known))


def test_pause_after_a_fault_of_the_machine_doubles():
    pauses = [after("retry", replace(TASK, attempt=n)).delay_s for n in (1, 2)]
    assert pauses == [BACKOFF_S, 2 * BACKOFF_S]


@pytest.mark.parametrize("failure", ["memory", "lost"])
def test_next_attempt_after_lack_of_memory_has_smaller_batches(failure):
    decision = after(failure)
    assert (decision.again.attempt, decision.again.halvings, decision.delay_s) == (2, 1, 0)


def test_last_attempt_fails_the_step_and_is_counted_in_the_message():
    decision = after("retry", replace(TASK, attempt=3))
    assert (decision.again, decision.message, decision.stops_build) == (None, "m (attempt 3 of 3)", False)


def test_shard_that_cannot_be_processed_fails_at_once():
    assert after("shard").message == "m"


def test_fault_of_the_run_stops_the_build():
    decision = after("stop")
    assert (decision.again, decision.message, decision.stops_build) == (None, "m", True)


def test_node_that_left_costs_no_attempt_until_it_leaves_too_often():
    attempts = Attempts(RunOn(attempts=1))
    decisions = [after("preempted", attempts=attempts) for _ in range(MAX_PREEMPTIONS + 1)]
    assert [d.again for d in decisions] == [TASK] * MAX_PREEMPTIONS + [None]


def test_rows_in_work_are_suspected_by_the_next_attempt():
    assert after("lost", at=(0, 5)).again.suspects == Suspects(spans=((0, 5),))


def test_row_that_is_late_alone_is_blamed_and_gives_its_attempt_back():
    task = replace(TASK, attempt=2, suspects=Suspects(spans=((0, 5),)))
    decision = after("lost", task, at=(3, 4), why="late", is_overdue=True)
    assert (decision.again.attempt, decision.again.suspects.blamed) == (1, ((3, "late"),))
