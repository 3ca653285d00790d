"""Isolates rows at which a stage's function fails: a failing batch is halved until one row is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import EditloomError, ShardFailed, one_line
from pipeline.run.rejects import EngineReject
from pipeline.run.suspects import NO_SUSPECTS, Suspects, ignore_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.run.rejects import RejectLog
    from pipeline.run.suspects import Span


class Quarantine:
    """Applies a function to batches of one shard and rejects the rows at which it raises.

    More than `max_frac` of the shard's rows (one is always allowed) is a fault of the stage, not of the rows:
    `ShardFailed`. Faults of the machine (an `OSError` with a number, any of the network) and errors raised on purpose
    are raised again. `announce` is called with the rows that the function starts to work on, and with None after a
    suspected row. Rows of `suspects` run one at a time; rows that it blames are rejected without a run.
    """

    def __init__(
        self, log: RejectLog, num_rows: int, max_frac: float, *, suspects: Suspects = NO_SUSPECTS,
        announce: Callable[[Span | None], None] = ignore_span,
    ) -> None:  # fmt: skip
        self.log = log
        self.allowed = max(1, int(num_rows * max_frac))
        self.raised = 0
        self._suspects, self._announce = suspects, announce
        self._blamed = dict(self._suspects.blamed)

    def apply(self, function: Callable[[pa.Table], pa.Table], batch: pa.Table, first: int = 0) -> Iterator[pa.Table]:
        """Results for `batch`, in order, in one or more tables. `first` is its first row's number in the shard."""
        for piece, start in self.pieces(batch, first):
            yield from self._halve(function, piece, start)

    def pieces(self, batch: pa.Table, first: int) -> Iterator[tuple[pa.Table, int]]:
        """The rows of `batch` that the function may get, as (table, number of its first row), announced."""
        for start, stop in self._suspects.cut(first, first + batch.num_rows):
            piece = batch.slice(start - first, stop - start)
            if start in self._blamed:
                self._reject(piece, EngineReject.WORKER_LOST, self._blamed[start])
                continue
            self._announce((start, stop))
            yield piece, start

    def finished(self, start: int, num_rows: int) -> None:
        """Note that the function is done with these rows, so that a suspected one is not blamed later."""
        if self._suspects.is_alone((start, start + num_rows)):
            self._announce(None)

    def _halve(self, function: Callable[[pa.Table], pa.Table], batch: pa.Table, start: int) -> Iterator[pa.Table]:
        try:
            result = function(batch)
        except EditloomError:
            raise
        except Exception as error:
            out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            network = isinstance(error, ConnectionError | TimeoutError)
            machine = network or (isinstance(error, OSError) and error.errno is not None)
            if machine or (out_of_memory and batch.num_rows == 1):
                raise
            if batch.num_rows == 1:
                self._reject(batch, EngineReject.EXCEPTION, one_line(error), error)
                return
            half = batch.num_rows // 2
        else:
            self.finished(start, batch.num_rows)
            yield result
            return
        for piece, at in ((batch.slice(0, half), start), (batch.slice(half), start + half)):
            self._announce((at, at + piece.num_rows))
            yield from self._halve(function, piece, at)

    def _reject(self, row: pa.Table, reason: EngineReject, detail: str, error: Exception | None = None) -> None:
        self.raised += 1
        if self.raised > self.allowed:
            raise ShardFailed(
                f"stage {self.log.stage}, shard {self.log.shard}: failed on {self.raised} rows, "
                f"more than the {self.allowed} allowed (max_quarantined_frac); last: {detail}"
            ) from error
        self.log.add_quarantined(row, reason, detail)
