"""Download all URLs of a shard: many at once, few of one host, temporary failures tried again.

One event loop sends requests and checks each image between answers: a worker has one core, and passing images to a
thread and back cost a sixth of it. Only large images go to a thread, so that they delay no other URL. Every URL has a
status afterwards; only bugs and faults of the machine are raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from stages.download.body import Body, LargeGate
from stages.download.hosts import HostQueue
from stages.download.http_client import Fetcher
from stages.download.images import keep
from stages.download.status import SUCCESS, DownloadFailed, KeptImage, LaionReject, UrlStatus, identity_of
from stages.download.store import Spool, Stored, is_retried, marker_of, published, sound_images, stored
from stages.download.url_guard import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from yarl import URL

    from pipeline.context import ShardStore
    from stages.download.settings import DownloadSettings
    from stages.download.url_guard import GuardedResolver

AT_ONCE_BYTES = 1 << 20
"""Images up to this size are decoded at once: some tens of milliseconds at most, for a usual photograph."""
_Item = tuple[UrlStatus, "URL"]


@contextlib.contextmanager
def provide(
    store: ShardStore, shard: str, make_statuses: Callable[[], list[UrlStatus]], options: DownloadSettings
) -> Iterator[tuple[Path, list[UrlStatus]]]:
    """(tar, statuses) of the shard for the block: as stored, repaired, with its marker's retries, or new.

    Stored files are used for the same rows only, wherever their table lies and however old it is.
    """
    rows = make_statuses()
    identity = identity_of(rows)
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(stored(store, shard, identity))
        marker = marker_of(store, shard)
        if found is None or not found.is_whole or marker is not None:
            with Spool(store.scratch()) as spool:
                statuses = rows if found is None else _to_try_again(found, marker, spool)
                is_as_stored = found is not None and found.is_whole and all(s.status for s in statuses)
                if not is_as_stored:
                    download(statuses, options, spool)
                    tar = stack.enter_context(published(store, shard, statuses, lambda s: spool[s.key], identity))
                    found = Stored(tar=tar, statuses=statuses, is_whole=True)
            store.remove(f"{shard}.retry")
        assert found is not None
        assert found.tar is not None
        yield found.tar, found.statuses


def _to_try_again(found: Stored, marker: str | None, spool: Spool) -> list[UrlStatus]:
    """The statuses, blank where the marker asks for the URL or its image is lost. `spool` gets the other images."""
    asked = {s.key for s in found.statuses if marker is not None and is_retried(s, wants_all=marker == "all")}
    if found.is_whole and not asked:
        return found.statuses
    for key, image in sound_images(found.tar, found.statuses) if found.tar is not None else ():
        spool.add(key, image)
    return [
        UrlStatus(key=s.key, url=s.url, caption=s.caption, metadata=s.metadata)
        if s.key in asked or (s.status == SUCCESS and s.key not in spool)
        else s
        for s in found.statuses
    ]


def download(
    statuses: Sequence[UrlStatus], options: DownloadSettings, spool: Spool, resolver: GuardedResolver | None = None
) -> None:
    """Give a status to all that have none, and to `spool` the images of those that succeeded."""
    with warnings.catch_warnings(action="ignore"):  # damaged files make Pillow warn, a line an image
        asyncio.run(_Download(options, spool).run(statuses, resolver))


class _Download:
    def __init__(self, options: DownloadSettings, spool: Spool) -> None:
        self._options, self._spool = options, spool

    async def run(self, statuses: Sequence[UrlStatus], resolver: GuardedResolver | None) -> None:
        """Ask for all that have no status yet."""
        speed = self._options.speed
        self._queue: HostQueue[_Item] = HostQueue(
            speed.concurrency_per_host, speed.max_host_failures,
            backoff_s=speed.backoff_s, backoff_cap_s=speed.backoff_cap_s,
        )  # fmt: skip
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
                await asyncio.gather(*(self._work() for _ in range(min(speed.concurrency, count))))

    async def _work(self) -> None:
        while (turn := await self._queue.get()) is not None:
            host, (status, url) = turn
            wait_s = await self._attempt(host, status, url)
            if wait_s is None:
                self._queue.done(host)
            else:
                self._queue.put_back(host, (status, url), wait_s)

    async def _attempt(self, host: str, status: UrlStatus, url: URL) -> float | None:
        """One attempt. Seconds until the next, or None when the URL has its status."""
        gate = LargeGate(self._fetcher.large)
        try:
            body, image = await self._get(host, status, url, gate)
        except DownloadFailed as failure:
            status.end(failure)
            return self._wait_s(status, failure)
        finally:
            gate.leave()
        self._spool.add(status.key, image.data)
        _succeed(status, url, body, image)
        return None

    async def _get(self, host: str, status: UrlStatus, url: URL, gate: LargeGate) -> tuple[Body, KeptImage]:
        if self._queue.is_given_up(host):
            text = f"host given up after {self._queue.failures(host)} failures in a row"
            raise DownloadFailed(LaionReject.CONNECTION_FAILURE, text, is_hopeless=True)
        status.attempts += 1
        began = time.monotonic()
        try:
            body = await self._fetcher.fetch(url, gate)
        except DownloadFailed as failure:
            self._queue.note(host, answered=failure.is_answered)
            raise
        finally:
            status.seconds = round(status.seconds + time.monotonic() - began, 4)
        self._queue.note(host, answered=True)
        if len(body.data) <= AT_ONCE_BYTES:
            return body, _keep(body, self._options)
        loop = asyncio.get_running_loop()
        return body, await loop.run_in_executor(self._pool, _keep, body, self._options)

    def _wait_s(self, status: UrlStatus, failure: DownloadFailed) -> float | None:
        speed = self._options.speed
        asked_s = failure.wait_s or 0.0
        if not failure.is_worth_again or status.attempts >= speed.attempts or asked_s > speed.backoff_cap_s:
            return None
        own_s = speed.backoff_s * 2 ** (status.attempts - 1) * random.uniform(0.5, 1.5)
        status.status = ""
        return float(max(asked_s, min(own_s, speed.backoff_cap_s)))


def _keep(body: Body, options: DownloadSettings) -> KeptImage:
    """The image in the body. A body that is none because of an encoding fails for that reason."""
    try:
        return keep(body.data, options)
    except DownloadFailed as failure:
        if not body.kept_encoding or failure.reason is not LaionReject.NOT_AN_IMAGE:
            raise
        text, status = f"Content-Encoding {body.kept_encoding}", body.http_status
        raise DownloadFailed(LaionReject.BROKEN_ENCODING, text, http_status=status) from None


def _succeed(status: UrlStatus, url: URL, body: Body, image: KeptImage) -> None:
    status.status, status.error, status.http_status = SUCCESS, "", body.http_status
    status.bytes, status.suffix, status.sha256 = len(body.data), image.suffix, image.sha256
    status.final_url = body.url if body.url != str(url) else None
    status.width, status.height = image.width, image.height
    status.original_width, status.original_height = image.original_width, image.original_height
    is_as_received = image.data is body.data
    status.stored_sha256 = image.sha256 if is_as_received else hashlib.sha256(image.data).hexdigest()
