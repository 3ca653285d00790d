"""Rows at which a worker was lost, and how the next attempt finds the one row that caused it.

A row that hangs or kills its worker raises no exception. So an executor reports which rows the stage's function was
working on when the worker was lost. The next attempt passes these rows to the function one at a time. A row that takes
longer than `row_deadline_s` alone, or at which a worker dies alone twice, is rejected; the other rows are kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Span = tuple[int, int]
"""Row numbers in the stage's input of one shard: the first, and the one after the last."""

DEATHS_ALONE = 2
"""Deaths of a worker at a row alone until the row is rejected; the first may be the machine's fault."""
AHEAD_S = 1.0
MOST_AHEAD = 2048
"""Most seconds of work, and most rows, that an announced span covers: they run one at a time after a loss."""


def ignore_span(at: Span | None) -> None:
    """Ignore which rows are worked on."""
    del at


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspects:
    """Rows that may have caused the loss of workers in one step. Their numbers are the same in all attempts."""

    spans: tuple[Span, ...] = ()
    """Rows to pass to the function one at a time."""
    deaths: tuple[int, ...] = ()
    """Rows at which a worker died while it worked on this row alone, once for each death."""
    blamed: tuple[tuple[int, str], ...] = ()
    """Rows to reject, and why."""

    def __bool__(self) -> bool:
        return bool(self.spans)

    def is_alone(self, at: Span | None) -> bool:
        """True when `at` is one row that runs alone because it is suspected."""
        return at is not None and at[1] - at[0] == 1 and self._covers(at[0])

    def after(self, at: Span, why: str, *, is_overdue: bool) -> Suspects:
        """The suspects after a worker was lost at the rows `at`."""
        row = at[0]
        if not self.is_alone(at):
            return replace(self, spans=(*self.spans, at))
        deaths = self.deaths if is_overdue else (*self.deaths, row)
        if is_overdue or deaths.count(row) >= DEATHS_ALONE:
            return replace(self, deaths=deaths, blamed=(*self.blamed, (row, why)))
        return replace(self, deaths=deaths)

    def cut(self, start: int, stop: int) -> Iterator[Span]:
        """Spans that cover `start` to `stop` in order: single rows where they are suspected, long spans elsewhere."""
        begin = start
        for row in range(start, stop) if self.spans else ():
            if self._covers(row):
                if begin < row:
                    yield begin, row
                yield row, row + 1
                begin = row + 1
        if begin < stop:
            yield begin, stop

    def _covers(self, row: int) -> bool:
        return any(start <= row < stop for start, stop in self.spans)


NO_SUSPECTS = Suspects()


class Announcer:
    """Called with the rows in work, it announces a span that includes them: the exact rows where any is suspected.

    All workers of a cluster write to one table, which allows few announcements a second from each. So a span also
    covers the rows expected within about `AHEAD_S`, by the speed so far.
    """

    def __init__(self, announce: Callable[[Span | None], None], suspects: Suspects) -> None:
        self._announce, self._suspects = announce, suspects
        self._span: Span = (0, 0)
        self._since = 0.0

    def __call__(self, at: Span | None) -> None:
        """Announce `at`, or a span around it, unless the last announced span includes it."""
        if at is None or self._suspects:
            self._announce(at)
        elif at[0] < self._span[0] or at[1] > self._span[1]:
            now, num_done = time.monotonic(), at[0] - self._span[0]
            elapsed_s = now - self._since
            ahead = int(min(MOST_AHEAD, AHEAD_S * num_done / max(elapsed_s, 1e-6))) if self._span[1] else 0
            self._span, self._since = (at[0], max(at[1], at[0] + ahead)), now
            self._announce(self._span)
