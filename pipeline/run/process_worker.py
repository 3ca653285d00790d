"""One worker process of `pipeline.run.processes`: `python -m pipeline.run.process_worker DESCRIPTOR`.

It gets the plan and then tasks over a connection, and sends back outcomes. While a task runs, it sends the rows that
are in work, and a sign of life now and then. It ends when its driver does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.run.suspects import Span

PULSE_S = 1.0


class Driver:
    """The connection to the driver; two threads send on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        """Send one message. The process ends when nobody listens any more."""
        try:
            with self._lock:
                self._connection.send((kind, value))
        except OSError:
            os._exit(1)

    def receive(self) -> Any:
        """The next message, or None when the driver is gone or wants no more work."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return None

    def pulse(self) -> None:
        """Send signs of life for ever."""
        while True:
            time.sleep(PULSE_S)
            self.send("pulse")


def main() -> None:
    """Serve one driver."""
    for number in (signal.SIGINT, signal.SIGTERM):  # terminals and schedulers send them to the whole group
        signal.signal(number, signal.SIG_IGN)  # the driver lets running steps finish, and ends this process
    driver = Driver(Connection(int(sys.argv[1])))
    plan, storage = driver.receive()
    import pyarrow as pa

    from pipeline.run.lean_arrow import leave_pandas_out
    from pipeline.run.suspects import Announcer
    from pipeline.run.worker import Worker

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    leave_pandas_out()
    worker = Worker(plan, storage)
    threading.Thread(target=driver.pulse, daemon=True).start()
    driver.send("ready")

    def announce(span: Span | None) -> None:
        driver.send("at", span)

    while (task := driver.receive()) is not None:
        worker.announce = Announcer(announce, task.suspects)
        driver.send("done", worker.run(task))
    os._exit(0)  # without waiting for threads of libraries


if __name__ == "__main__":
    main()
