"""How lost workers lead to the one row that caused the losses."""

import pytest

from pipeline.run.suspects import MOST_AHEAD, Announcer, Suspects

NOBODY = Suspects()


def test_without_suspects_a_batch_is_not_divided():
    assert list(NOBODY.cut(5, 9)) == [(5, 9)]
    assert list(NOBODY.cut(5, 5)) == []


def test_suspected_rows_run_one_at_a_time():
    suspects = NOBODY.after((3, 5), "died", is_overdue=False)
    assert list(suspects.cut(0, 8)) == [(0, 3), (3, 4), (4, 5), (5, 8)]
    assert list(suspects.cut(4, 6)) == [(4, 5), (5, 6)]
    assert list(suspects.cut(6, 8)) == [(6, 8)]


def test_row_that_is_overdue_alone_is_blamed_at_once():
    suspects = NOBODY.after((3, 5), "late", is_overdue=True).after((4, 5), "ran past 1 s", is_overdue=True)
    assert suspects.blamed == ((4, "ran past 1 s"),)


def test_row_alone_at_which_a_worker_ends_twice_is_blamed():
    once = NOBODY.after((3, 5), "died", is_overdue=False).after((4, 5), "died", is_overdue=False)
    assert once.blamed == ()
    assert once.after((3, 4), "died", is_overdue=False).blamed == ()
    assert once.after((4, 5), "died", is_overdue=False).blamed == ((4, "died"),)


def test_batch_of_one_row_is_suspected_before_it_is_blamed():
    first = NOBODY.after((4, 5), "late", is_overdue=True)
    assert first.blamed == ()
    assert first.is_alone((4, 5))
    assert first.after((4, 5), "late", is_overdue=True).blamed == ((4, "late"),)


def announced(batches, monkeypatch, seconds_each, suspects=NOBODY):
    """The spans that are announced for batches of which each takes so long."""
    clock = iter(n * seconds_each for n in range(10_000))
    found = []
    at = Announcer(found.append, suspects)
    for batch, now in zip(batches, clock, strict=False):
        monkeypatch.setattr("time.monotonic", lambda now=now: now)
        at(batch)
        assert found[-1] == batch or (found[-1][0] <= batch[0] and batch[1] <= found[-1][1])
    return found


@pytest.mark.parametrize(("seconds_each", "most"), [(0.0, 10), (0.001, 10), (0.1, 22), (5.0, 200)])
def test_rows_in_work_are_announced_seldom_and_never_missed(monkeypatch, seconds_each, most):
    batches = [(start, start + 16) for start in range(0, 3200, 16)]
    found = announced(batches, monkeypatch, seconds_each)
    assert len(found) <= most
    assert max(stop - start for start, stop in found) <= MOST_AHEAD


def test_suspected_rows_are_announced_exactly(monkeypatch):
    rows = [(0, 1), (1, 2), (2, 3)]
    assert announced(rows, monkeypatch, 0.001, Suspects(spans=((0, 3),))) == rows
