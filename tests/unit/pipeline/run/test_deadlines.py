from pipeline.plan.manifest import RunOn
from pipeline.run.deadlines import TaskClock
from pipeline.run.suspects import Suspects
from pipeline.run.task import Task

ALONE = Suspects(spans=((0, 10),))


def clock(suspects=ALONE, **run_on):
    """The clock of a task that starts at 100 s."""
    return TaskClock.start(Task(stage=0, shard="a", input_digest="", suspects=suspects), RunOn(**run_on), 100.0)


def test_task_is_late_only_after_its_deadline():
    own = clock(deadline_s=50)
    assert own.late_task(150.0) is None
    assert own.late_task(150.1) == "ran past its deadline of 50 s (deadline_s)"


def test_worker_is_asked_four_times_in_a_heartbeat():
    own = clock(heartbeat_s=40)
    assert not own.is_time_to_ask(110.0)
    assert own.is_time_to_ask(110.1)
    assert own.late_answer(140.0) is None
    assert own.late_answer(140.1) == "no sign of life for 40 s (heartbeat_s)"


def test_row_has_its_own_deadline_from_when_it_was_first_seen():
    own = clock(row_deadline_s=10)
    assert own.late_row((3, 4), 105.0) is None
    assert own.late_row((3, 4), 115.0) is None
    assert own.late_row((3, 4), 115.1) == "ran past 10 s on one row alone (row_deadline_s)"


def test_next_row_starts_with_a_deadline_of_its_own():
    own = clock(row_deadline_s=10)
    own.late_row((3, 4), 105.0)
    assert own.late_row((4, 5), 120.0) is None
    assert own.late_row((4, 5), 129.0) is None


def test_rows_that_do_not_run_alone_have_no_deadline():
    own = clock(row_deadline_s=10)
    assert [own.late_row((20, 30), now) for now in (105.0, 200.0)] == [None, None]


def test_time_of_a_suspected_row_does_not_count_for_the_task():
    own = clock(deadline_s=50, row_deadline_s=30)
    own.late_row((3, 4), 105.0)
    own.late_row((3, 4), 125.0)
    assert own.late_task(170.0) is None
    assert own.late_task(170.1) is not None
