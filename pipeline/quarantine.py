"""Calls a stage's function so that one bad row never costs its shard: a failing batch is halved down to the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import EditloomError, ShardFailed, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.rejects import RejectLog


class Quarantine:
    """Applies a function to batches of one shard and sends rows it raises on to the rejects.

    More than `max_frac` of the shard's rows (one is always allowed) is a fault of the stage, not of the rows:
    `ShardFailed`. Faults of the machine (an `OSError` with a number, any of the network) and errors raised on purpose
    pass through.
    """

    def __init__(self, log: RejectLog, num_rows: int, max_frac: float) -> None:
        self.log = log
        self.allowed = max(1, int(num_rows * max_frac))
        self.raised = 0

    def apply(self, function: Callable[[pa.Table], pa.Table], batch: pa.Table) -> Iterator[pa.Table]:
        """Results for `batch` in order, in as many tables as it took."""
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
                self._quarantine(batch, error)
                return
            half = batch.num_rows // 2
        else:
            yield result
            return
        yield from self.apply(function, batch.slice(0, half))
        yield from self.apply(function, batch.slice(half))

    def _quarantine(self, row: pa.Table, error: Exception) -> None:
        self.raised += 1
        if self.raised > self.allowed:
            raise ShardFailed(
                f"stage {self.log.stage}, shard {self.log.shard}: raised on {self.raised} rows, "
                f"more than the {self.allowed} allowed (max_quarantined_frac); last: {one_line(error)}"
            ) from error
        self.log.add_quarantined(row, one_line(error))
