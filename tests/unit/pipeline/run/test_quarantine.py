import errno
import math
from unittest.mock import ANY

import pyarrow as pa
import pytest

from core.errors import ContractError, RunStopped, ShardFailed
from pipeline.run.quarantine import Quarantine
from pipeline.run.rejects import RejectLog
from pipeline.run.suspects import Suspects
from samples.columns import SAMPLE_ID

NUM_ROWS = 100


def rows(num_rows=NUM_ROWS):
    return pa.table(
        {SAMPLE_ID: [f"id{n}" for n in range(num_rows)], "caption": [f"caption {n}" for n in range(num_rows)]}
    )


class Fails:
    """Raises `error` on batches with one of the bad rows, or of more rows than fit."""

    def __init__(self, bad=(), error=None, fits=NUM_ROWS):
        self.bad, self.error, self.fits, self.calls = {f"id{n}" for n in bad}, error, fits, 0

    def __call__(self, batch):
        self.calls += 1
        if self.bad & set(batch[SAMPLE_ID].to_pylist()) or batch.num_rows > self.fits:
            raise self.error or ValueError("cannot\nbe read")
        return batch


def apply(function, num_rows=NUM_ROWS, max_frac=0.1):
    log = RejectLog("upper", "a", [])
    results = list(Quarantine(log, num_rows, max_frac).apply(function, rows(num_rows)))
    return [i for t in results for i in t[SAMPLE_ID].to_pylist()], log


def test_one_bad_row_of_a_hundred_is_rejected_and_others_keep_their_order():
    function = Fails(bad=[42])
    ids, log = apply(function)
    assert ids == [f"id{n}" for n in range(NUM_ROWS) if n != 42]
    [row] = log.table().to_pylist()
    assert row[SAMPLE_ID] == "id42"
    assert row["reject_reason"] == "exception"
    assert row["reject_detail"] == "ValueError: cannot be read"
    assert row["row"] == '{"caption": "caption 42"}'
    assert function.calls <= 2 * math.ceil(math.log2(NUM_ROWS)) + 1


def test_batch_without_bad_rows_runs_once():
    function = Fails()
    ids, log = apply(function)
    assert len(ids) == NUM_ROWS
    assert function.calls == 1
    assert log.total == 0


def test_more_bad_rows_than_allowed_are_a_fault_of_the_stage():
    with pytest.raises(ShardFailed) as caught:
        apply(Fails(bad=range(11)))
    assert str(caught.value) == (
        "stage upper, shard a: failed on 11 rows, more than the 10 allowed (max_quarantined_frac); "
        "last: ValueError: cannot be read"
    )


def test_one_bad_row_is_allowed_in_the_smallest_shard():
    ids, log = apply(Fails(bad=[0]), num_rows=2, max_frac=0)
    assert ids == ["id1"]
    assert log.total == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "bad disk"),
        FileNotFoundError(errno.ENOENT, "gone"),
        ConnectionError("reset by peer"),
        TimeoutError("no answer"),
        ContractError("rows lost"),
        RunStopped("key refused"),
    ],
)
def test_fault_of_the_machine_and_error_raised_on_purpose_blame_no_row(error):
    function = Fails(bad=[3], error=error)
    with pytest.raises(type(error)):
        apply(function)
    assert function.calls == 1


def test_oserror_without_a_number_blames_the_row():
    ids, log = apply(Fails(bad=[3], error=OSError("image file is truncated")))
    assert len(ids) == NUM_ROWS - 1
    assert log.counts == {"exception": 1}


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.mark.parametrize("error", [MemoryError(), OutOfMemoryError("CUDA out of memory")])
def test_lack_of_memory_halves_the_batch_and_loses_no_row(error):
    function = Fails(fits=30, error=error)
    ids, log = apply(function)
    assert ids == [f"id{n}" for n in range(NUM_ROWS)]
    assert log.total == 0
    assert function.calls == 1 + 2 + 4


def test_lack_of_memory_for_a_single_row_needs_another_attempt():
    with pytest.raises(MemoryError):
        apply(Fails(bad=[3], error=MemoryError()))


def with_suspects(function, suspects, max_frac=0.1):
    log, announced = RejectLog("upper", "a", []), []
    results = list(
        Quarantine(log, NUM_ROWS, max_frac, suspects=suspects, announce=announced.append).apply(function, rows(), 50)
    )
    return [t.num_rows for t in results], log, announced


def test_rows_in_work_are_announced_by_their_numbers_in_the_shard():
    assert with_suspects(Fails(), Suspects()) == ([100], ANY, [(50, 150)])
    assert with_suspects(Fails(bad=[0]), Suspects())[2][:3] == [(50, 150), (50, 100), (50, 75)]


def test_suspected_rows_run_alone_and_the_blamed_one_is_rejected():
    suspects = Suspects(spans=((60, 63),), blamed=((61, "its worker died"),))
    sizes, log, announced = with_suspects(Fails(), suspects)
    assert sizes == [10, 1, 1, 87]
    assert announced == [(50, 60), (60, 61), None, (62, 63), None, (63, 150)]
    [row] = log.table().to_pylist()
    assert (row[SAMPLE_ID], row["reject_reason"], row["reject_detail"]) == ("id11", "worker_lost", "its worker died")


def test_blamed_rows_count_as_rows_that_raised():
    suspects = Suspects(spans=((50, 90),), blamed=tuple((n, "died") for n in range(50, 61)))
    with pytest.raises(ShardFailed, match="failed on 11 rows, more than the 10 allowed"):
        with_suspects(Fails(), suspects)
