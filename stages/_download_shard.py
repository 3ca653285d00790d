"""All URLs of a shard: many at once, few of one host, failures that may pass tried again after a while.

One event loop asks, and looks at each image between answers: a worker has one core, and handing images to a thread and
back cost a sixth of it. Only large ones go to a thread, so that nobody waits for them. Nothing escapes as an exception
but bugs and faults of the machine: every URL has its status afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from stages._download_hosts import HostQueue
from stages._download_http import Body, Fetcher, LargeGate
from stages._download_images import keep
from stages._download_status import SUCCESS, DownloadFailed, LaionReject, Picture, UrlStatus
from stages._download_store import Spool, asked_again, kept_images, publish, stored
from stages._url_guard import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from yarl import URL

    from pipeline.stage import ShardStore
    from stages._url_guard import GuardedResolver
    from stages.read_laion import ReadLaion

UNANSWERED = frozenset({LaionReject.DNS_FAILURE, LaionReject.CONNECTION_FAILURE, LaionReject.TIMEOUT})
"""Ends at which the host gave no answer."""
AT_ONCE_BYTES = 1 << 20
"""Images up to this size are decoded at once: some tens of milliseconds at most, for a usual photograph."""
_Item = tuple[UrlStatus, "URL"]


def provide(
    store: ShardStore,
    shard: str,
    make_statuses: Callable[[], list[UrlStatus]],
    options: ReadLaion,
    identity: str = "",
) -> tuple[Path, list[UrlStatus]]:
    """(tar, statuses) of the shard: as stored; with what its marker asks to be tried anew; or downloaded now.

    What is stored counts for the same `identity` of the input only.
    """
    found = stored(store, shard, identity)
    again = asked_again(store, shard, found[1]) if found is not None else None
    if found is not None and again is None:
        return found
    with Spool(store.scratch()) as spool:
        if found is None:
            statuses = make_statuses()
            download(statuses, options, spool)
            store.remove(f"{shard}.status.parquet")  # of a tar that is gone
            publish(store, shard, statuses, lambda status: spool[status.key], identity)
        elif again:
            _try_again(store, shard, found, again, spool, options, identity)
    store.remove(f"{shard}.retry")
    found = stored(store, shard, identity)
    assert found is not None
    return found


def _try_again(
    store: ShardStore,
    shard: str,
    found: tuple[Path, list[UrlStatus]],
    again: Sequence[UrlStatus],
    spool: Spool,
    options: ReadLaion,
    identity: str,
) -> None:
    fresh = {
        s.key: replace(s, status="", error="", http_status=None, attempts=0, seconds=0.0, final_url=None) for s in again
    }
    download(list(fresh.values()), options, spool)
    tar, statuses = found
    kept = kept_images(tar, statuses)

    def image_of(status: UrlStatus) -> bytes:
        return spool[status.key] if status.key in fresh else next(kept)[1].image or b""

    publish(store, shard, [fresh.get(s.key, s) for s in statuses], image_of, identity)


def download(
    statuses: Sequence[UrlStatus], options: ReadLaion, spool: Spool, resolver: GuardedResolver | None = None
) -> None:
    """Give a status to all that have none, and to `spool` the images of those that succeeded."""
    with warnings.catch_warnings(action="ignore"):  # damaged files make Pillow warn, a line an image
        asyncio.run(_Download(options, spool).run(statuses, resolver))


class _Download:
    def __init__(self, options: ReadLaion, spool: Spool) -> None:
        self._options, self._spool = options, spool

    async def run(self, statuses: Sequence[UrlStatus], resolver: GuardedResolver | None) -> None:
        """Ask for all that have no status yet."""
        self._queue: HostQueue[_Item] = HostQueue(self._options.concurrency_per_host)
        count = 0
        for status in statuses:
            if status.status:
                continue
            try:
                url = parse_url(status.url)
            except DownloadFailed as failure:
                status.end(failure)
                continue
            self._queue.put(url.raw_host or "", (status, url))
            count += 1
        async with Fetcher(self._options, resolver) as self._fetcher:
            with ThreadPoolExecutor(1, thread_name_prefix="decode") as self._pool:
                await asyncio.gather(*(self._work() for _ in range(min(self._options.concurrency, count))))

    async def _work(self) -> None:
        while (turn := await self._queue.get()) is not None:
            host, (status, url) = turn
            wait_s = await self._attempt(host, status, url)
            if wait_s is None:
                self._queue.done(host)
            else:
                self._queue.put_back(host, (status, url), wait_s)

    async def _attempt(self, host: str, status: UrlStatus, url: URL) -> float | None:
        """One attempt; seconds until the next, or None when the URL has its status."""
        gate = LargeGate(self._fetcher.large)
        try:
            body, picture = await self._get(host, status, url, gate)
        except DownloadFailed as failure:
            status.end(failure)
            return self._wait_s(status, failure)
        finally:
            gate.leave()
        self._spool.add(status.key, picture.data)
        _succeed(status, url, body, picture)
        return None

    async def _get(self, host: str, status: UrlStatus, url: URL, gate: LargeGate) -> tuple[Body, Picture]:
        failures = self._queue.failures(host)
        if failures >= self._options.max_host_failures:
            text = f"host given up after {failures} failures in a row"
            raise DownloadFailed(LaionReject.CONNECTION_FAILURE, text, is_hopeless=True)
        status.attempts += 1
        began = time.monotonic()
        try:
            body = await self._fetcher.fetch(url, gate)
        except DownloadFailed as failure:
            self._queue.note(host, answered=failure.reason not in UNANSWERED)
            raise
        finally:
            status.seconds = round(status.seconds + time.monotonic() - began, 4)
        self._queue.note(host, answered=True)
        if len(body.data) <= AT_ONCE_BYTES:
            return body, keep(body.data, self._options)
        loop = asyncio.get_running_loop()
        return body, await loop.run_in_executor(self._pool, keep, body.data, self._options)

    def _wait_s(self, status: UrlStatus, failure: DownloadFailed) -> float | None:
        options = self._options
        asked_s = failure.wait_s or 0.0
        if not failure.is_worth_again or status.attempts >= options.attempts or asked_s > options.backoff_cap_s:
            return None
        own_s = options.backoff_s * 2 ** (status.attempts - 1) * random.uniform(0.5, 1.5)
        status.status = ""
        return float(max(asked_s, min(own_s, options.backoff_cap_s)))


def _succeed(status: UrlStatus, url: URL, body: Body, picture: Picture) -> None:
    status.status, status.error, status.http_status = SUCCESS, "", body.http_status
    status.bytes, status.suffix, status.sha256 = len(body.data), picture.suffix, picture.sha256
    status.final_url = body.url if body.url != str(url) else None
    status.width, status.height = picture.width, picture.height
    status.original_width, status.original_height = picture.original_width, picture.original_height
