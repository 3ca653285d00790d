"""Stops on request: the first SIGTERM or Ctrl-C is noted and obeyed between steps, a second one stops at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CAUGHT = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """The name of the signal that came, or empty before one does."""

    def __init__(self) -> None:
        self.name = ""


@contextlib.contextmanager
def noted() -> Iterator[Stop]:
    """Note signals while the block runs. Outside the main thread none arrive, and nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in CAUGHT}

    def note(number: int, _frame: Any) -> None:
        stop.name = signal.Signals(number).name
        for caught, handler in before.items():
            signal.signal(caught, handler)

    for number in CAUGHT:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
