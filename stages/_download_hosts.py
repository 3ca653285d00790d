"""Whose turn it is: URLs in their order, at most so many of one host at a time, hosts that are down given up."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class HostQueue(Generic[T]):
    """Items by host. An item that was got holds a place of its host until `done` or `put_back`."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._turn: asyncio.Queue[tuple[str, T] | None] = asyncio.Queue()
        self._held: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[T]] = defaultdict(deque)
        self._unfinished = 0
        self._failures: Counter[str] = Counter()

    def put(self, host: str, item: T) -> None:
        """Add an item."""
        self._unfinished += 1
        self._line_up(host, item)

    def _line_up(self, host: str, item: T) -> None:
        if self._held[host] < self._per_host:
            self._held[host] += 1
            self._turn.put_nowait((host, item))
        else:
            self._waiting[host].append(item)

    async def get(self) -> tuple[str, T] | None:
        """(host, item) whose turn it is; None, for every caller, once all items are done."""
        if not self._unfinished:
            return None
        found = await self._turn.get()
        if found is None:
            self._turn.put_nowait(None)  # for the next who asks
        return found

    def done(self, host: str) -> None:
        """The item that was got is finished."""
        self._release(host)
        self._unfinished -= 1
        if not self._unfinished:
            self._turn.put_nowait(None)

    def put_back(self, host: str, item: T, wait_s: float) -> None:
        """The item that was got lines up again after a while; its place is free meanwhile."""
        self._release(host)
        asyncio.get_running_loop().call_later(wait_s, self._line_up, host, item)

    def _release(self, host: str) -> None:
        waiting = self._waiting[host]
        if waiting:
            self._turn.put_nowait((host, waiting.popleft()))
        else:
            self._held[host] -= 1

    def note(self, host: str, *, answered: bool) -> None:
        """Remember whether the host answered; any answer makes up for all failures before."""
        self._failures[host] = 0 if answered else self._failures[host] + 1

    def failures(self, host: str) -> int:
        """Failures of the host since its last answer."""
        return self._failures[host]
