"""Calls a stage's function so that one bad row never costs its shard: a failing batch is halved down to the row."""

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
    """Applies a function to batches of one shard and sends rows it raises on to the rejects.

    More than `max_frac` of the shard's rows (one is always allowed) is a fault of the stage, not of the rows:
    `ShardFailed`. Faults of the machine (an `OSError` with a number, any of the network) and errors raised on purpose
    pass through. `at` is called with the rows that the function is about to work on, and with None after a suspected
    one. Rows of `suspects` are handed in one at a time, those to blame not at all.
    """

    def __init__(
        self, log: RejectLog, num_rows: int, max_frac: float, *, suspects: Suspects = NO_SUSPECTS,
        at: Callable[[Span | None], None] = ignore_span,
    ) -> None:  # fmt: skip
        self.log = log
        self.allowed = max(1, int(num_rows * max_frac))
        self.raised = 0
        self._suspects, self._at = suspects, at
        self._blamed = dict(self._suspects.blamed)

    def apply(self, function: Callable[[pa.Table], pa.Table], batch: pa.Table, first: int = 0) -> Iterator[pa.Table]:
        """Results for `batch`, whose first row has that number in the shard, in order, in as many tables as it took."""
        for piece, start in self.pieces(batch, first):
            yield from self._halve(function, piece, start)

    def pieces(self, batch: pa.Table, first: int) -> Iterator[tuple[pa.Table, int]]:
        """The rows of `batch` to hand to the function, as (table, number of its first row); `at` is called for each."""
        for start, stop in self._suspects.cut(first, first + batch.num_rows):
            piece = batch.slice(start - first, stop - start)
            if start in self._blamed:
                self._reject(piece, EngineReject.WORKER_LOST, self._blamed[start])
                continue
            self._at((start, stop))
            yield piece, start

    def finished(self, start: int, num_rows: int) -> None:
        """The function is done with these rows: what happens next is not the fault of a suspected one."""
        if self._suspects.is_alone((start, start + num_rows)):
            self._at(None)

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
            self._at((at, at + piece.num_rows))
            yield from self._halve(function, piece, at)

    def _reject(self, row: pa.Table, reason: EngineReject, detail: str, error: Exception | None = None) -> None:
        self.raised += 1
        if self.raised > self.allowed:
            raise ShardFailed(
                f"stage {self.log.stage}, shard {self.log.shard}: failed on {self.raised} rows, "
                f"more than the {self.allowed} allowed (max_quarantined_frac); last: {detail}"
            ) from error
        self.log.add_quarantined(row, reason, detail)
