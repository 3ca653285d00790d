"""Which URLs may be asked for: http and https to public addresses, and to hosts that the user names.

The decisive check is in the resolver that connections use: only the addresses that it returns are connected to, so a
name that resolves to another address a moment later gains nothing. A host written as an
address never reaches a resolver; `AddressGuard.check` sees it, for each hop of a redirect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from stages.download.status import MAX_URL_CHARS, DownloadFailed, LaionReject, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SCHEMES = frozenset({"http", "https"})
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
TUNNELS = tuple(ipaddress.IPv6Network(n) for n in ("::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10"))
"""IPv4-compatible, local NAT64, Teredo, 6to4 and site-local: public by their form, anything by where they lead."""
RESOLVER_THREADS = 32
UNKNOWN_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_ESCAPED = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
"""An URL that needs no escaping; it is sent unchanged, as signatures cover every letter of it."""
_CONTROL = re.compile(r"[\x00-\x20\x7f\\\ufffd]")


def parse_url(text: str | None) -> URL:
    """The URL without fragment and credentials, escaped as HTTP requires. Raises `DownloadFailed`."""
    plain = (text or "").strip()
    if not plain or len(plain) > MAX_URL_CHARS:
        text = f"more than {MAX_URL_CHARS} characters" if plain else "no URL"
        raise DownloadFailed(LaionReject.NOT_AN_URL, text)
    if _CONTROL.search(plain.replace(" ", "")):
        raise DownloadFailed(LaionReject.NOT_AN_URL, "control characters or backslashes")
    try:
        return checked_scheme(to_url(plain))
    except (ValueError, TypeError) as error:  # UnicodeError is a ValueError
        raise DownloadFailed(LaionReject.NOT_AN_URL, type(error).__name__) from None


def to_url(text: str) -> URL:
    """The text as an URL, escaped where it is not. Raises `ValueError` or `TypeError`."""
    return URL(text, encoded=_ESCAPED.fullmatch(text) is not None)


def checked_scheme(url: URL) -> URL:
    """The URL without fragment and credentials. Raises `DownloadFailed` unless it is http or https with a host."""
    if not url.scheme and not url.raw_host:
        raise DownloadFailed(LaionReject.NOT_AN_URL, "no scheme and no host")
    if url.scheme not in SCHEMES:
        raise DownloadFailed(LaionReject.FORBIDDEN_SCHEME, f"scheme {bounded(url.scheme, 20)!r}")
    if not url.raw_host or not url.port:
        raise DownloadFailed(LaionReject.NOT_AN_URL, "no host or no port")
    if url.raw_user is not None or url.raw_password is not None:
        url = url.with_user(None)
    return url.with_fragment(None) if url.raw_fragment else url


def is_public(address: Address) -> bool:
    """True for an address of the public internet, whatever way it is written."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(address in network for network in TUNNELS):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def literal_address(host: str) -> Address | None:
    """The address that `host` is, in any form a socket takes (`[::1]`, `0x7f.1`, `2130706433`), or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, UnicodeError, ValueError):
        return None


class AddressGuard:
    """Lets hosts through that are public or that the user allowed: by name, address or network (`127.0.0.0/8`)."""

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for host in allowed_hosts:
            try:
                self._networks.append(ipaddress.ip_network(host.strip("[]"), strict=False))
            except ValueError:
                self._names.add((URL.build(scheme="http", host=host).raw_host or host).lower().rstrip("."))

    def also_to(self, hosts: Iterable[str]) -> AddressGuard:
        """A guard that lets these hosts through too."""
        wider = AddressGuard(hosts)
        wider._names |= self._names
        wider._networks += self._networks
        return wider

    def permits(self, host: str, address: Address) -> bool:
        """True when a connection to `address` may be made in the name of `host`."""
        if is_public(address) or host.lower().rstrip(".") in self._names:
            return True
        return any(address in network for network in self._networks)  # False where the versions differ

    def check(self, url: URL) -> None:
        """Raise `DownloadFailed` when the host is written as an address that may not be asked, or in an odd form."""
        host = url.raw_host or ""
        address = literal_address(host)
        if address is None:
            return
        is_plain = host.partition("%")[0] == str(address) or address.version == 6
        if not is_plain or not self.permits(host, address):
            raise DownloadFailed(LaionReject.FORBIDDEN_ADDRESS, f"host {bounded(host, 60)} is {address}")


def look_up(host: str, port: int, family: int) -> list[tuple[Any, ...]]:
    """The answer of `socket.getaddrinfo`: numeric addresses, so that nothing is resolved again later."""
    return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class GuardedResolver(AbstractResolver):
    """Resolves names in threads of its own and gives permitted addresses only."""

    def __init__(self, guard: AddressGuard, lookup: Callable[[str, int, int], list[tuple[Any, ...]]] = look_up) -> None:
        self._guard, self._lookup = guard, lookup
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    def also_to(self, hosts: Iterable[str]) -> GuardedResolver:
        """A resolver that gives every address of these hosts too, which are the user's proxies."""
        return GuardedResolver(self._guard.also_to(hosts), self._lookup)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Permitted addresses of the host. Raises `DownloadFailed` when it has none."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._lookup, host, port, int(family))
        except (OSError, UnicodeError) as error:
            is_unknown = not isinstance(error, OSError) or error.errno in UNKNOWN_NAME
            text = f"{type(error).__name__}: {error}"
            raise DownloadFailed(LaionReject.DNS_FAILURE, text, is_hopeless=is_unknown) from None
        refused = ""
        results = []
        for kind, _, proto, _, address in found:
            numeric = str(address[0])
            if self._guard.permits(host, ipaddress.ip_address(numeric.partition("%")[0])):
                results.append(
                    ResolveResult(
                        hostname=host, host=numeric, port=port, family=kind, proto=proto,
                        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                    )
                )  # fmt: skip
            else:
                refused = numeric
        if not results:
            if refused:
                raise DownloadFailed(LaionReject.FORBIDDEN_ADDRESS, f"{bounded(host, 60)} resolves to {refused}")
            raise DownloadFailed(LaionReject.DNS_FAILURE, "the name has no address")
        return results

    async def close(self) -> None:
        """Release the threads. Look-ups that hang end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
