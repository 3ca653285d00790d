"""Decide which URL comes next: few of one host at a time, and none of a host that is down.

A host is given up after `max_failures` failures without an answer between them, of which the last `PROBES` must be
probes. Before each probe the host rests, with a back-off that doubles, and all running requests end; then one URL is
requested. So a burst of failures at one moment never gives up a host: it must still be down after `PROBES` rests. From
its first failure on, a host has at most as many running requests as it may still fail before it rests; any answer
restores all its places. A host that is down costs at most `max(per_host, max_failures) + PROBES` requests, however many
URLs it has, and `PROBES + 1` time limits where as many URLs are requested at once as may fail.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

PROBES = 2


@dataclass(slots=True)
class _Host:
    places: int
    """How many of its items may be held: fewer as failures add up, none while it rests, one for a probe."""
    held: int = 0
    waiting: deque[Any] = field(default_factory=deque)
    failures: int = 0
    """Since its last answer, as `rests`."""
    rests: int = 0
    timer: asyncio.TimerHandle | None = None
    is_probed: bool = False
    """The one item that is held was got after a rest."""
    is_given_up: bool = False


class HostQueue(Generic[T]):
    """Items by host. An item that was got holds a place of its host until `done` or `put_back`."""

    def __init__(self, per_host: int, max_failures: int, *, backoff_s: float, backoff_cap_s: float) -> None:
        self._per_host = per_host
        self._probes = min(PROBES, max_failures - 1)
        self._failures_unprobed = max_failures - self._probes
        self._backoff_s, self._backoff_cap_s = backoff_s, backoff_cap_s
        self._turn: asyncio.Queue[tuple[str, T] | None] = asyncio.Queue()
        self._hosts: defaultdict[str, _Host] = defaultdict(lambda: _Host(per_host))
        self._unfinished = 0

    def put(self, host: str, item: T) -> None:
        """Add an item."""
        self._unfinished += 1
        self._line_up(host, item)

    def _line_up(self, host: str, item: T) -> None:
        self._hosts[host].waiting.append(item)
        self._hand_out(host)

    def _hand_out(self, host: str) -> None:
        state = self._hosts[host]
        while state.waiting and state.held < state.places:
            state.held += 1
            self._turn.put_nowait((host, state.waiting.popleft()))

    async def get(self) -> tuple[str, T] | None:
        """(host, item) whose turn it is, or None for every caller once all items are done."""
        while self._unfinished:
            found = await self._turn.get()
            if found is None:
                self._turn.put_nowait(None)  # for the next who asks
                return None
            host, item = found
            state = self._hosts[host]
            if state.held <= state.places:
                state.is_probed = state.rests > 0
                return found
            state.held -= 1  # handed out before its host began to rest
            state.waiting.appendleft(item)
        return None

    def done(self, host: str) -> None:
        """The item that was got is finished."""
        self._release(host)
        self._unfinished -= 1
        if not self._unfinished:
            self._turn.put_nowait(None)

    def put_back(self, host: str, item: T, wait_s: float) -> None:
        """Queue the item again after a while. Its place is free meanwhile."""
        self._release(host)
        asyncio.get_running_loop().call_later(wait_s, self._line_up, host, item)

    def _release(self, host: str) -> None:
        self._hosts[host].held -= 1
        self._hand_out(host)

    def note(self, host: str, *, answered: bool) -> None:
        """Record, while the item is held, whether the host answered. Any answer resets its count of failures."""
        state = self._hosts[host]
        if answered:
            self._restore(state)
            self._hand_out(host)
            return
        state.failures += 1
        lacking = self._failures_unprobed - state.failures
        if state.rests == 0 and lacking > 0:
            state.places = min(self._per_host, lacking)
        elif (state.rests == 0 or state.is_probed) and not state.is_given_up:
            self._rest(host, state)

    def _restore(self, state: _Host) -> None:
        if state.timer is not None:
            state.timer.cancel()
        state.places, state.failures, state.rests = self._per_host, 0, 0
        state.timer, state.is_probed, state.is_given_up = None, False, False

    def _rest(self, host: str, state: _Host) -> None:
        state.is_probed = False
        if state.rests == self._probes:
            state.is_given_up, state.places = True, self._per_host  # all waiting items are given out, to fail at once
            return
        state.rests += 1
        state.places = 0
        wait_s = min(self._backoff_cap_s, self._backoff_s * 2 ** (state.rests - 1))
        state.timer = asyncio.get_running_loop().call_later(wait_s, self._probe, host)

    def _probe(self, host: str) -> None:
        self._hosts[host].places = 1
        self._hand_out(host)

    def failures(self, host: str) -> int:
        """Failures of the host since its last answer."""
        return self._hosts[host].failures

    def is_given_up(self, host: str) -> bool:
        """True when the host is not to be asked any more, unless what is under way still brings an answer."""
        return self._hosts[host].is_given_up
