"""Make one attempt at one URL: every redirect is checked, opt-outs are respected, and bytes are bounded.

Owns which status of a URL follows from an HTTP answer. Does not own turns, retries (`stages.download.shard`) or pixels.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import partial
from typing import TYPE_CHECKING, Self

import aiohttp

from core.errors import RunStopped
from stages.download.body import LARGE_AT_ONCE, Body, drain, read_body
from stages.download.encoding import Decoder
from stages.download.head import ANSWERED, MAX_HEAD_BYTES, Answered, PlainConnector
from stages.download.headers import opt_outs, retry_after_s
from stages.download.proxy import Proxies, ProxyError
from stages.download.status import DownloadFailed, LaionReject
from stages.download.url_guard import AddressGuard, GuardedResolver, checked_scheme, literal_address, to_url

if TYPE_CHECKING:
    from yarl import URL

    from stages.download.body import Enter, LargeGate
    from stages.download.settings import DownloadSettings


REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})
BUSY = frozenset({408, 425, 429})
HEADERS = {"Accept": "image/jpeg,image/png,image/webp,image/*;q=0.9,*/*;q=0.5", "Accept-Encoding": "identity"}
DNS_CACHE_S = 300
_SURROGATE = re.compile("[\udc80-\udcff]")
"""A byte of a header that is not UTF-8, as aiohttp has it."""
LOOK_UP_S = 3.0
"""Wait for the addresses of a host that a proxy is to ask."""


class Fetcher:
    """The client of one shard. Its connections are kept for all URLs of the shard."""

    def __init__(self, options: DownloadSettings, resolver: GuardedResolver | None = None) -> None:
        self._options = options
        self._guard = AddressGuard(options.allowed_hosts)
        self._resolver = resolver or GuardedResolver(self._guard)
        try:
            self._proxies = Proxies(is_used=options.speed.proxy_from_environment)
        except ProxyError as error:
            raise RunStopped(str(error)) from None
        self._connecting = self._resolver.also_to(self._proxies.hosts) if self._proxies else self._resolver
        self._refusals: dict[str, asyncio.Task[str]] = {}
        self._agents = frozenset(re.findall(r"[a-z0-9_-]+", options.user_agent.lower()))
        self._types = tuple(kind.lower() for kind in options.content_types)
        self._directives = frozenset(d.lower() for d in options.opt_out_directives if options.respect_opt_out)
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __aenter__(self) -> Self:
        connector = PlainConnector(limit=0, ttl_dns_cache=DNS_CACHE_S, resolver=self._connecting)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None), headers={**HEADERS, "User-Agent": self._options.user_agent},
            max_line_size=MAX_HEAD_BYTES, max_field_size=MAX_HEAD_BYTES, max_headers=MAX_HEAD_BYTES,
        )  # fmt: skip
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()
        await self._connecting.close()
        await self._resolver.close()

    async def fetch(self, url: URL, gate: LargeGate) -> Body:
        """The image's bytes after one attempt of at most `timeout_s`, `gate`'s waits apart. Raises `DownloadFailed`."""
        answered = Answered()
        ANSWERED.set(answered)
        try:
            return await self._in_time(url, gate)
        except DownloadFailed as failure:
            failure.is_answered = failure.is_answered or answered.is_any
            raise

    async def _in_time(self, url: URL, gate: LargeGate) -> Body:
        try:
            async with asyncio.timeout(self._options.speed.timeout_s) as limit:
                return await self._follow(url, partial(gate.enter, limit))
        except TimeoutError:
            raise DownloadFailed(LaionReject.TIMEOUT, f"not done after {self._options.speed.timeout_s:g} s") from None
        except (aiohttp.InvalidURL, UnicodeError) as error:
            raise DownloadFailed(LaionReject.NOT_AN_URL, type(error).__name__) from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            is_refused = isinstance(error, aiohttp.ClientConnectorCertificateError)
            raise DownloadFailed(LaionReject.CONNECTION_FAILURE, text, is_hopeless=is_refused) from None
        except ValueError as error:  # headers that no parser takes
            raise DownloadFailed(LaionReject.CONNECTION_FAILURE, f"{type(error).__name__}: {error}") from None

    async def _follow(self, url: URL, enter: Enter) -> Body:
        seen: set[URL] = set()
        for _ in range(self._options.max_redirects + 1):
            self._guard.check(url)
            if self._proxies:
                await self._check_addresses(url.raw_host or "")
            seen.add(url)
            async with self._session.get(url, allow_redirects=False, proxy=self._proxies.of(url)) as response:
                if not _is_busy(response.status):  # an error page says nothing about the image
                    self._refuse_opt_out(response)
                if response.status not in REDIRECTS or "Location" not in response.headers:
                    return await self._accepted(response, enter)
                await drain(response)
                url = _next(url, response.headers["Location"])
            if url in seen:
                raise DownloadFailed(LaionReject.TOO_MANY_REDIRECTS, "in a circle", http_status=response.status)
        text = f"more than {self._options.max_redirects}"
        raise DownloadFailed(LaionReject.TOO_MANY_REDIRECTS, text, http_status=response.status)

    async def _check_addresses(self, host: str) -> None:
        """Raise `DownloadFailed` for a host that leads to no public address, as far as its name is known here.

        A proxy resolves names itself, so this is no guarantee: a name may be unknown here, or mean another host there.
        """
        if literal_address(host) is not None:
            return
        if host not in self._refusals:
            self._refusals[host] = asyncio.create_task(self._refusal(host))
        refusal = await asyncio.shield(self._refusals[host])
        if refusal:
            raise DownloadFailed(LaionReject.FORBIDDEN_ADDRESS, refusal)

    async def _refusal(self, host: str) -> str:
        """Why the host may not be asked, or nothing."""
        try:
            async with asyncio.timeout(LOOK_UP_S):
                await self._resolver.resolve(host)
        except TimeoutError:
            return ""
        except DownloadFailed as failure:
            return failure.detail if failure.reason is LaionReject.FORBIDDEN_ADDRESS else ""
        return ""

    def _refuse_opt_out(self, response: aiohttp.ClientResponse) -> None:
        if not self._directives or "X-Robots-Tag" not in response.headers:
            return
        found = opt_outs(response.headers.getall("X-Robots-Tag"), self._agents) & self._directives
        if found:
            text = f"X-Robots-Tag: {', '.join(sorted(found))}"
            raise DownloadFailed(LaionReject.OPTED_OUT, text, http_status=response.status)

    async def _accepted(self, response: aiohttp.ClientResponse, enter: Enter) -> Body:
        status = response.status
        if not 200 <= status < 300:
            await drain(response)
            reason = LaionReject.SERVER_BUSY if _is_busy(status) else LaionReject.HTTP_ERROR
            raise DownloadFailed(
                reason, f"HTTP {status}", http_status=status, wait_s=retry_after_s(response.headers.get("Retry-After"))
            )
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_listed = not kind or kind.startswith(self._types)
        if not is_listed and kind.startswith("image/"):
            raise DownloadFailed(LaionReject.WRONG_CONTENT_TYPE, f"Content-Type {kind}", http_status=status)
        decoder = Decoder(",".join(response.headers.getall("Content-Encoding", ())))
        data = await read_body(response, decoder, self._options.max_image_bytes, "" if is_listed else kind, enter)
        if not data:
            raise DownloadFailed(LaionReject.EMPTY_IMAGE, "no bytes", http_status=status)
        url, encoding = str(response.url), decoder.kept_encoding
        return Body(data=data, http_status=status, url=url, kept_encoding=encoding)


def _is_busy(status: int) -> bool:
    return status in BUSY or status >= 500


def _next(url: URL, location: str) -> URL:
    """The URL that a redirect names, read as browsers do. Raises `DownloadFailed` for one that may not be asked.

    A byte that is not UTF-8 is escaped as it is, and a backslash before the query is a slash.
    """
    escaped = _SURROGATE.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", location)
    path = re.split("[?#]", escaped, maxsplit=1)[0]
    try:
        return checked_scheme(url.join(to_url(path.replace("\\", "/") + escaped[len(path) :])))
    except (ValueError, TypeError) as error:
        raise DownloadFailed(LaionReject.NOT_AN_URL, f"redirect: {type(error).__name__}") from None
