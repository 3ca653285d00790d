"""The batches of a step on one shard, each with the function for it; of a `TwoPart`, the first part runs ahead.

Owns the threads, how far they run ahead, and where they are used at all. The rows are in the same order and cut at the
same places whether threads are used or not, so a result does not hang on them. What a batch is, is `pipeline.run.rows`'
question.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from core.machine import num_cores
from pipeline.plan.plugins import on_gpu
from pipeline.stage import TwoPart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import pyarrow as pa

    from pipeline.run.rows import ShardRows
    from pipeline.run.step import Step
    from pipeline.run.suspects import Span
    from pipeline.stage import BatchFn

PIECE_ROWS = 32
"""Rows that are prepared together, at most, unless one forward pass takes more: the model waits for the first ones."""
MOST_THREADS = 4
"""Threads that decode for one model on a GPU, at most: other workers of the machine need cores, too."""
MOST_ROWS_AHEAD = 512
"""Rows that are prepared ahead, at most, if that leaves two pieces: an image of 224 px takes 0.6 MB as the model's."""


def batches_of(step: Step, rows: ShardRows, function: BatchFn, rows_per_batch: int) -> WholeBatches | PreparedBatches:
    """The batches of the step's shard for the stage's function."""
    if not isinstance(function, TwoPart):
        return WholeBatches(step, rows, function, rows_per_batch)
    return PreparedBatches(step, rows, function, rows_per_batch, threads_ahead(step))


def threads_ahead(step: Step) -> int:
    """Threads that prepare rows ahead in this step; none where they would only share the cores of the model.

    None after a worker was lost at rows that are still suspected, which must run alone, or after memory ran out.
    """
    if step.task.suspects or step.task.halvings:
        return 0
    if on_gpu(step.planned.run_on.placement):
        return min(MOST_THREADS, max(1, num_cores() // 2))
    return int(_num_own_cores() > 1)


def _num_own_cores() -> int:
    """Cores that this worker may use. Executors of several workers set OMP_NUM_THREADS to the cores of one."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else num_cores()


class WholeBatches:
    """The batches of a shard for a function in one part."""

    def __init__(self, step: Step, rows: ShardRows, function: BatchFn, rows_per_batch: int) -> None:
        self._batches, self._function = rows.batches(rows_per_batch), function
        self.announce, self.made = step.announce, rows.made

    def __iter__(self) -> Iterator[tuple[pa.Table, BatchFn]]:
        for batch in self._batches:
            yield batch, self._function

    def close(self) -> None:
        """Nothing to end."""


@dataclass(eq=False, slots=True)
class _Piece:
    rows: pa.Table
    first: int
    """Number of its first row in the shard."""
    is_last: bool
    """True when it is the last one of its batch."""
    prepared: Future[Any] | None = None


class PreparedBatches:
    """The batches of a shard in pieces, for a function in two parts, of which threads run the first part ahead.

    While a batch is worked on, the next one is read. So the results of a batch decide the size of the batch after the
    next one, also where there are no threads. An exception of the first part is raised when its piece is worked on. A
    piece that fails is done in this thread from then on, both parts.
    """

    def __init__(
        self, step: Step, rows: ShardRows, function: TwoPart, rows_per_batch: int, num_threads: int
    ) -> None:  # fmt: skip
        self._rows, self._function = rows, function
        self._batches = rows.batches(rows_per_batch)
        at_once = step.planned.run_on.rows_per_forward
        self._piece_rows = min(rows_per_batch, at_once * max(1, PIECE_ROWS // at_once))
        self._num_ahead = min(num_threads + 1, max(2, MOST_ROWS_AHEAD // self._piece_rows))
        # one thread more, which reads the next batch
        self._threads = ThreadPoolExecutor(num_threads + 1, "prepare") if num_threads else None
        self._reading: Future[pa.Table | None] | None = None
        self._pieces: deque[_Piece] = deque()
        self._num_read = self._num_started = 0
        self._made_rows = self._made_bytes = 0
        self._announce = step.announce

    def __iter__(self) -> Iterator[tuple[pa.Table, BatchFn]]:
        self._read()
        self._cut()
        self._read()
        while self._pieces:
            self._start_ahead()
            piece = self._pieces.popleft()
            yield piece.rows, self._function_for(piece)
            if piece.is_last:
                self._cut()  # the next batch was read by now, so its size did not hang on this one's results
                self._rows.made(self._made_rows, self._made_bytes)
                self._made_rows = self._made_bytes = 0
                self._read()

    def made(self, num_rows: int, num_bytes: int) -> None:
        """Report the bytes that the stage made of that many rows. Later batches are sized by them."""
        self._made_rows += num_rows
        self._made_bytes += num_bytes

    def announce(self, at: Span | None) -> None:
        """Announce the rows that are worked on, with those that are prepared ahead of them."""
        self._announce(at if at is None else (at[0], max(at[1], self._num_started)))

    def close(self) -> None:
        """End the threads. Return when what they do is done."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _read(self) -> None:
        """Begin to read the next batch, where there are threads."""
        if self._threads is not None:
            self._reading = self._threads.submit(next, self._batches, None)

    def _cut(self) -> None:
        """Cut the next batch into pieces, once it is read. Do nothing where that was done ahead."""
        if self._threads is None:
            batch: Any = next(self._batches, None)
        elif self._reading is None:
            return
        else:
            batch, self._reading = self._reading.result(), None
        num_rows = 0 if batch is None else batch.num_rows
        for start in range(0, num_rows, self._piece_rows):
            rows = batch.slice(start, self._piece_rows)
            self._pieces.append(_Piece(rows, self._num_read, is_last=start + self._piece_rows >= num_rows))
            self._num_read += rows.num_rows

    def _start_ahead(self) -> None:
        """Begin to prepare the next piece and those that may be ahead of it. They are announced before."""
        if self._threads is None:
            return
        if self._reading is not None and self._reading.done() and self._reading.exception() is None:
            self._cut()
        new = [piece for piece in islice(self._pieces, 1 + self._num_ahead) if piece.prepared is None]
        if new:
            self._num_started = new[-1].first + new[-1].rows.num_rows
            self.announce((self._pieces[0].first, self._num_started))
        for piece in new:
            piece.prepared = self._threads.submit(self._function.prepare, piece.rows)

    def _function_for(self, piece: _Piece) -> BatchFn:
        """The function for the piece, which uses what was prepared at its first call and keeps it no longer."""
        ahead = [] if piece.prepared is None else [piece.prepared]
        piece.prepared = None

        def run(rows: pa.Table) -> pa.Table:
            if not ahead:
                return self._function(rows)
            return self._function.finish(rows, ahead.pop().result())

        return run
