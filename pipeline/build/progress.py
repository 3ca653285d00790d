"""Progress of a build on stderr: a live table on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from pipeline.build.result import StageTally

LINE_EVERY_S = 10.0


class Progress:
    """Shows the tallies of a build. `tick` may be called at any rate."""

    def __init__(self, manifest: str, tallies: Sequence[StageTally], *, quiet: bool = False) -> None:
        self._manifest, self._tallies, self._quiet = manifest, tallies, quiet
        self._console = Console(stderr=True)
        self._began = self._shown = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self._table(), console=self._console, refresh_per_second=2, get_renderable=self._table)
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, value, tb)

    def say(self, text: str) -> None:
        """Print a line that stays on the screen."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """Print a line every ten seconds where there is no terminal."""
        now = time.monotonic()
        if self._live is None and now - self._shown >= LINE_EVERY_S:
            self._shown = now
            parts = [f"{tally.stage} {tally.done}/{tally.total}" for tally in self._tallies]
            self.say(f"[{now - self._began:5.0f} s] {', '.join(parts)}")

    def _table(self) -> Table:
        table = Table(title=f"{self._manifest}, {time.monotonic() - self._began:.0f} s", title_justify="left")
        for name in ("stage", "shards done", "cached", "running", "failed", "rows in", "rows out", "rejected"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for t in self._tallies:
            numbers = (t.cached, t.running, t.failed, t.rows_in, t.rows_out, sum(t.rejects.values()))
            table.add_row(t.stage, f"{t.done}/{t.total}", *(f"{n:,}" if n else "" for n in numbers))
        return table
