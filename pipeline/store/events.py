"""The event log of a build: JSON lines in `run/events-<time>-<run id>.jsonl`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.store.storage import Storage


class EventLog:
    """Appends events to a local file, which is uploaded at the end where the run folder is remote."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._path = storage.scratch() / "events.jsonl"
        self._rel = f"run/events-{time.strftime('%Y%m%dT%H%M%S')}-{storage.run_id}.jsonl"
        if storage.is_local:
            storage.write_bytes(self._rel, b"")
            self._handle = open(storage.path(self._rel), "a", encoding="utf-8")  # noqa: SIM115, PTH123  closed in __exit__
        else:
            self._handle = self._path.open("a", encoding="utf-8")

    def write(self, event: str, fields: dict[str, Any]) -> None:
        """Append one line: time (Unix seconds), event, fields."""
        line = {"time": round(time.time(), 3), "event": event, **fields}
        self._handle.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self._handle.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._handle.close()
        if not self._storage.is_local:
            self._storage.publish(self._path, self._rel)
