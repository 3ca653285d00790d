"""Peak memory of a command and all processes below it. Linux."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import psutil

SAMPLE_EVERY_S = 1.0


class PeakMemory(threading.Thread):
    """The most memory at once below one process: proportional set sizes, which count a shared page once."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        """Look every second until `stop`."""
        while not self._ended.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, self._now())

    def stop(self) -> int:
        """The peak."""
        self._ended.set()
        self.join()
        return self.peak_bytes

    def _now(self) -> int:
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(OSError, StopIteration):  # it has ended since
                    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
                    total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
        return total
